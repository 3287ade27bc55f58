// What both examples need of a ctcnet model: its session, its metadata, its tensors. C++17 and onnxruntime alone.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

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
