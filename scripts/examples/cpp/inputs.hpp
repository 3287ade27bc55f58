// What both examples read themselves: a file of counts, levels from the command line. C++17 alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text + separator);  // so that "a," has two parts, the second empty
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// Raw little-endian uint16 counts of a whole file (on a little-endian machine).
inline std::vector<uint16_t> read_counts(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  const auto bytes = std::filesystem::file_size(path);
  if (bytes % sizeof(uint16_t)) throw std::runtime_error(path.string() + " holds no whole number of uint16 counts");
  std::vector<uint16_t> counts(bytes / sizeof(uint16_t));
  file.read(reinterpret_cast<char*>(counts.data()), static_cast<std::streamsize>(bytes));
  return counts;
}

// Whether the whole of a text is a number, with a decimal point whatever the locale; not all compilers have from_chars.
inline bool read_number(const std::string& text, float& value) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  return (stream >> value) && stream.eof() && std::isfinite(value);
}

// Levels of the cartridge in counts, one per channel, from "55,53.5,51"; NaN, "the model's own", where there is no text
// and for nan. `name` is "background" or "scale". The graph checks the number of levels alone.
inline std::vector<float> levels(const std::string& name, const char* text, size_t channels) {
  std::vector<float> values(channels, std::numeric_limits<float>::quiet_NaN());
  if (!text) return values;
  const auto parts = split(text, ',');
  bool right = parts.size() == channels;
  for (size_t k = 0; right && k < channels; ++k)
    right = parts[k] == "nan" || parts[k] == "NaN" ||
            (read_number(parts[k], values[k]) && (name != "scale" || values[k] > 0));
  if (!right)
    throw std::runtime_error(name + " " + text + " is not " + std::to_string(channels) +
                             " numbers, one per channel, none infinite and a scale above 0");
  return values;
}
