// What both examples need of a ctcnet model: its session, its metadata, its inputs. C++17 and onnxruntime alone.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

struct Model {
  Ort::Env env{ORT_LOGGING_LEVEL_ERROR, "ctcnet"};
  Ort::Session session{nullptr};
  Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);

  explicit Model(const std::filesystem::path& path, int threads = 1) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);
    session = Ort::Session(env, path.c_str(), options);
  }

  // A property of the file's metadata, such as "classes".
  std::string property(const char* key) {
    Ort::AllocatorWithDefaultOptions allocator;
    auto value = session.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
    if (!value) throw std::runtime_error(std::string("the model has no property ") + key);
    return value.get();
  }

  // Tensor over values that outlive the call of run.
  template <typename T>
  Ort::Value tensor(std::vector<T>& values, const std::vector<int64_t>& shape) {
    return tensor(values.data(), values.size(), shape);
  }
  template <typename T>
  Ort::Value tensor(T* values, size_t count, const std::vector<int64_t>& shape) {
    return Ort::Value::CreateTensor<T>(memory, values, count, shape.data(), shape.size());
  }
};

// Raw little-endian uint16 counts of a whole file (on a little-endian machine).
inline std::vector<uint16_t> read_counts(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  std::vector<uint16_t> counts(std::filesystem::file_size(path) / sizeof(uint16_t));
  file.read(reinterpret_cast<char*>(counts.data()), static_cast<std::streamsize>(counts.size() * sizeof(uint16_t)));
  return counts;
}

// Levels of the cartridge in counts, one per channel, from "55,53.5,51"; NaN, "the model's own", where there is no text.
inline std::vector<float> levels(const char* text, size_t channels) {
  std::vector<float> values;
  for (const auto& part : split(text ? text : "", ',')) values.push_back(std::stof(part));
  if (!text) values.assign(channels, std::numeric_limits<float>::quiet_NaN());
  if (values.size() != channels) throw std::runtime_error("levels are not one number per channel");
  return values;
}
