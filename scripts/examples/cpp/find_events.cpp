// Find and classify the events of one frame and print one line of CSV for each. For research use only.
//
//   find_events MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE]
//
// FRAME.u16 and the levels are described in ../README.md.
#include <algorithm>

#include "inputs.hpp"
#include "model.hpp"

int run(const char* model_path, const char* frame_path, int64_t width, int64_t height, const char* background_text,
        const char* scale_text) {
  Model model(model_path);
  const auto classes = split(model.property("classes"), ',');
  const auto kinds = split(model.property("kinds"), ',');
  const auto panel = model.property("panel");
  const auto channels = static_cast<int64_t>(split(panel, ',').size());

  auto counts = read_counts(frame_path);
  if (counts.size() != static_cast<size_t>(channels * height * width))
    throw std::runtime_error("the file does not hold a frame of this size");
  auto background = levels("background", background_text, channels);
  auto scale = levels("scale", scale_text, channels);
  std::vector<int64_t> max_events{std::stoll(model.property("max_events"))};

  const char* inputs[] = {"frame", "background", "scale", "max_events"};
  const char* outputs[] = {"x_px",        "y_px",      "diameter_um",  "kind", "probabilities", "unassigned",
                           "atypicality", "truncated", "events_found"};
  Ort::Value feed[] = {model.tensor(counts, {channels, height, width}), model.tensor(background, {channels}),
                       model.tensor(scale, {channels}), model.tensor(max_events, {1})};
  auto events = model.session.Run(Ort::RunOptions{}, inputs, feed, 4, outputs, 9);
  const float* x_px = events[0].GetTensorData<float>();
  const float* y_px = events[1].GetTensorData<float>();
  const float* diameter_um = events[2].GetTensorData<float>();
  const int32_t* kind = events[3].GetTensorData<int32_t>();
  const float* probabilities = events[4].GetTensorData<float>();
  const bool* unassigned = events[5].GetTensorData<bool>();
  const float* atypicality = events[6].GetTensorData<float>();
  const bool truncated = *events[7].GetTensorData<bool>();
  const auto found = static_cast<long long>(*events[8].GetTensorData<int64_t>());

  std::printf("# For research use only. Model %s, channels %s\n", model.property("name").c_str(), panel.c_str());
  std::printf("# %lld events%s\n", found, truncated ? ", more than were asked for" : "");
  std::printf("x_px,y_px,diameter_um,kind,class,unassigned,atypicality");
  for (const auto& name : classes) std::printf(",p_%s", name.c_str());
  std::printf("\n");
  const size_t count = events[0].GetTensorTypeAndShapeInfo().GetElementCount();
  for (size_t row = 0; row < count; ++row) {
    const float* p = probabilities + row * classes.size();
    const size_t best = static_cast<size_t>(std::max_element(p, p + classes.size()) - p);
    std::printf("%.9g,%.9g,%.9g,%s,%s,%d,%.9g", x_px[row], y_px[row], diameter_um[row], kinds.at(kind[row]).c_str(),
                classes[best].c_str(), unassigned[row], atypicality[row]);
    for (size_t k = 0; k < classes.size(); ++k) std::printf(",%.9g", p[k]);
    std::printf("\n");
  }
  return 0;
}

int main(int argc, char** argv) {
  long long width = 0, height = 0;
  if ((argc != 4 && argc != 6) || std::sscanf(argv[3], "%lldx%lld", &width, &height) != 2 || width < 1 || height < 1) {
    std::fprintf(stderr, "usage: find_events MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE]\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], width, height, argc == 6 ? argv[4] : nullptr, argc == 6 ? argv[5] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
