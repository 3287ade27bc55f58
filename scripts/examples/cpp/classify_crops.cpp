// Classify crops and print one line of CSV for each. For research use only.
//
//   classify_crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]
//
// CROPS.u16 and the levels are described in ../README.md.
#include <algorithm>
#include <cstdlib>

#include "inputs.hpp"
#include "model.hpp"

constexpr size_t BATCH = 64;

int run(const char* model_path, const char* crops_path, const char* background_text, const char* scale_text) {
  Model model(model_path);
  const auto classes = split(model.property("classes"), ',');
  const auto panel = model.property("panel");
  const size_t channels = split(panel, ',').size();
  const size_t side = std::stoul(model.property("crop_size_px"));
  const size_t values_per_crop = channels * side * side;

  auto counts = read_counts(crops_path);
  if (counts.size() % values_per_crop) throw std::runtime_error("no whole number of crops in the file");
  auto background = levels("background", background_text, channels);
  auto scale = levels("scale", scale_text, channels);
  const std::vector<int64_t> level_shape{static_cast<int64_t>(channels)};

  std::printf("# For research use only. Model %s, channels %s\n", model.property("name").c_str(), panel.c_str());
  std::printf("crop,class,unassigned,atypicality");
  for (const auto& name : classes) std::printf(",p_%s", name.c_str());
  std::printf("\n");

  const char* inputs[] = {"crops", "background", "scale"};
  const char* outputs[] = {"probabilities", "unassigned", "atypicality"};
  const size_t count = counts.size() / values_per_crop;
  for (size_t start = 0; start < count; start += BATCH) {
    const size_t size = std::min(BATCH, count - start);
    const int64_t s = static_cast<int64_t>(side);
    Ort::Value feed[] = {
        model.tensor(counts.data() + start * values_per_crop, size * values_per_crop,
                     {static_cast<int64_t>(size), static_cast<int64_t>(channels), s, s}),
        model.tensor(background, level_shape),
        model.tensor(scale, level_shape),
    };
    auto answers = model.session.Run(Ort::RunOptions{}, inputs, feed, 3, outputs, 3);
    const float* probabilities = answers[0].GetTensorData<float>();
    const bool* unassigned = answers[1].GetTensorData<bool>();
    const float* atypicality = answers[2].GetTensorData<float>();
    for (size_t row = 0; row < size; ++row) {
      const float* p = probabilities + row * classes.size();
      const size_t best = static_cast<size_t>(std::max_element(p, p + classes.size()) - p);
      std::printf("%zu,%s,%d,%.9g", start + row, classes[best].c_str(), unassigned[row], atypicality[row]);
      for (size_t k = 0; k < classes.size(); ++k) std::printf(",%.9g", p[k]);
      std::printf("\n");
    }
  }
  return EXIT_SUCCESS;
}

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) {
    std::fprintf(stderr, "usage: classify_crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], argc == 5 ? argv[3] : nullptr, argc == 5 ? argv[4] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
