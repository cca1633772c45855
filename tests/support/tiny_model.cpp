#include "support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace crucible {
namespace {

namespace fs = std::filesystem;

template <class T>
void append_number(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

// Nearest even, by arithmetic that scales to whole numbers: slow, and plainly right.
std::uint16_t to_small_float(double value, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned sign = std::signbit(value) ? 1U << (exponent_bits + mantissa_bits) : 0U;
  const unsigned infinity = ((1U << exponent_bits) - 1) << mantissa_bits;
  if (std::isnan(value)) return static_cast<std::uint16_t>(infinity | 1U << (mantissa_bits - 1));
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return static_cast<std::uint16_t>(sign | infinity);
  if (magnitude == 0) return static_cast<std::uint16_t>(sign);
  const int exponent = std::max(std::ilogb(magnitude), 1 - bias);
  // In units of the last place; a carry out of the mantissa moves into the exponent field by itself.
  const double units = std::nearbyint(std::ldexp(magnitude, mantissa_bits - exponent));
  const double code = units + std::ldexp(static_cast<double>(exponent + bias - 1), mantissa_bits);
  return static_cast<std::uint16_t>(code >= infinity ? sign | infinity : sign | static_cast<unsigned>(code));
}

double from_small_float(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int field = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) != 0 ? -1.0 : 1.0;
  if (field == (1 << exponent_bits) - 1) return mantissa != 0 ? std::nan("") : sign * INFINITY;
  if (field == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), field - bias - mantissa_bits);
}

void append_value(std::string& out, DType dtype, double v) {
  switch (dtype) {
    case DType::kF16: return append_number(out, to_small_float(v, 5, 10));
    case DType::kBF16: return append_number(out, to_small_float(v, 8, 7));
    case DType::kF32: return append_number(out, static_cast<float>(v));
    case DType::kF64: return append_number(out, v);
    case DType::kBool: return append_number(out, static_cast<std::uint8_t>(v != 0));
    case DType::kU8: return append_number(out, static_cast<std::uint8_t>(v));
    case DType::kI8: return append_number(out, static_cast<std::int8_t>(v));
    case DType::kU16: return append_number(out, static_cast<std::uint16_t>(v));
    case DType::kI16: return append_number(out, static_cast<std::int16_t>(v));
    case DType::kU32: return append_number(out, static_cast<std::uint32_t>(v));
    case DType::kI32: return append_number(out, static_cast<std::int32_t>(v));
    case DType::kU64: return append_number(out, static_cast<std::uint64_t>(v));
    case DType::kI64: return append_number(out, static_cast<std::int64_t>(v));
    default: throw std::runtime_error("make_tensor cannot write this dtype; use raw_tensor");
  }
}

template <class T>
double take(std::string_view bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

double value_at(DType dtype, std::string_view bytes, std::size_t i) {
  switch (dtype) {
    case DType::kF16: return from_small_float(static_cast<std::uint16_t>(take<std::uint16_t>(bytes, i)), 5, 10);
    case DType::kBF16: return from_small_float(static_cast<std::uint16_t>(take<std::uint16_t>(bytes, i)), 8, 7);
    case DType::kF32: return take<float>(bytes, i);
    case DType::kF64: return take<double>(bytes, i);
    case DType::kBool:
    case DType::kU8: return take<std::uint8_t>(bytes, i);
    case DType::kI8: return take<std::int8_t>(bytes, i);
    case DType::kU16: return take<std::uint16_t>(bytes, i);
    case DType::kI16: return take<std::int16_t>(bytes, i);
    case DType::kU32: return take<std::uint32_t>(bytes, i);
    case DType::kI32: return take<std::int32_t>(bytes, i);
    case DType::kU64: return take<std::uint64_t>(bytes, i);
    case DType::kI64: return take<std::int64_t>(bytes, i);
    default: throw std::runtime_error("decode_values cannot read this dtype");
  }
}

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = state += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

std::size_t count_of(const Shape& shape) {
  std::size_t n = 1;
  for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
  return n;
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string shard_name(int i, int count) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, count);
  return name;
}

}  // namespace

TempFolder::TempFolder() {
  std::string pattern = (fs::temp_directory_path() / "crucible-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = fs::canonical(pattern).string();
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_text(const std::string& path, std::string_view bytes) {
  const fs::path p(path);
  if (p.has_parent_path()) fs::create_directories(p.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw std::runtime_error("cannot write " + path);
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TinyTensor make_tensor(std::string name, DType dtype, Shape shape, const std::vector<double>& values) {
  if (values.size() != count_of(shape)) throw std::runtime_error("make_tensor: the shape does not fit the values of " + name);
  TinyTensor t{std::move(name), dtype, std::move(shape), {}};
  for (const double v : values) append_value(t.bytes, dtype, v);
  return t;
}

TinyTensor random_tensor(std::string name, DType dtype, Shape shape, std::uint64_t seed) {
  for (const char c : name) seed = seed * 1099511628211U + static_cast<unsigned char>(c);
  std::vector<double> values(count_of(shape));
  for (double& v : values) {
    // Twelve uniform numbers sum to about a normal one, with no library function whose last bit differs between systems.
    double sum = -6;
    for (int k = 0; k < 12; ++k) sum += std::ldexp(static_cast<double>(next_random(seed) >> 11), -53);
    v = facts(dtype).mergeable ? 0.02 * sum : std::floor(std::fabs(sum) * 4);
  }
  return make_tensor(std::move(name), dtype, std::move(shape), values);
}

TinyTensor raw_tensor(std::string name, DType dtype, Shape shape, std::string bytes) {
  return {std::move(name), dtype, std::move(shape), std::move(bytes)};
}

std::vector<double> decode_values(DType dtype, std::string_view bytes) {
  std::vector<double> values(bytes.size() * 8 / static_cast<std::size_t>(facts(dtype).bits));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_at(dtype, bytes, i);
  return values;
}

std::string safetensors_file(std::string_view header_text, std::string_view data) {
  std::string out;
  append_number(out, static_cast<std::uint64_t>(header_text.size()));
  out += header_text;
  out += data;
  return out;
}

std::string safetensors_bytes(const std::vector<TinyTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::string data;
  for (const TinyTensor& t : tensors) {
    std::string shape;
    for (const std::int64_t d : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(d);
    header += "," + json_text(t.name) + R"(:{"dtype":")" + std::string(facts(t.dtype).name) + R"(","shape":[)" + shape +
              R"(],"data_offsets":[)" + std::to_string(data.size()) + "," + std::to_string(data.size() + t.bytes.size()) + "]}";
    data += t.bytes;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return safetensors_file(header, data);
}

std::string write_tiny_model(const std::string& folder, const TinyModel& model) {
  fs::create_directories(folder);
  if (!model.config.empty()) write_text(folder + "/config.json", model.config);
  for (const auto& [name, content] : model.files) write_text(folder + "/" + name, content);
  if (model.shards <= 1) {
    write_text(folder + "/model.safetensors", safetensors_bytes(model.tensors));
    return folder;
  }
  const auto shards = static_cast<std::size_t>(model.shards);
  std::string map;
  std::size_t total = 0;
  for (std::size_t s = 0; s < shards; ++s) {
    std::vector<TinyTensor> part;
    const std::string file = shard_name(static_cast<int>(s), model.shards);
    for (std::size_t i = model.tensors.size() * s / shards; i < model.tensors.size() * (s + 1) / shards; ++i) {
      const TinyTensor& t = model.tensors[i];
      map += (map.empty() ? "" : ", ") + json_text(t.name) + ": " + json_text(file);
      total += t.bytes.size();
      part.push_back(t);
    }
    write_text(folder + "/" + file, safetensors_bytes(part));
  }
  write_text(folder + "/model.safetensors.index.json",
             R"({"metadata": {"total_size": )" + std::to_string(total) + R"(}, "weight_map": {)" + map + "}}\n");
  return folder;
}

std::vector<TinyTensor> llama_tensors(std::uint64_t seed, DType dtype, LlamaSize size) {
  const std::int64_t h = size.hidden;
  const std::int64_t m = size.intermediate;
  const std::int64_t v = size.vocabulary;
  std::vector<TinyTensor> out;
  const auto add = [&](std::string name, Shape shape) { out.push_back(random_tensor(std::move(name), dtype, std::move(shape), seed)); };
  add("model.embed_tokens.weight", {v, h});
  for (int i = 0; i < size.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    for (const char* p : {"q", "k", "v", "o"}) add(layer + "self_attn." + p + "_proj.weight", {h, h});
    add(layer + "mlp.gate_proj.weight", {m, h});
    add(layer + "mlp.up_proj.weight", {m, h});
    add(layer + "mlp.down_proj.weight", {h, m});
    add(layer + "input_layernorm.weight", {h});
    add(layer + "post_attention_layernorm.weight", {h});
  }
  add("model.norm.weight", {h});
  add("lm_head.weight", {v, h});
  return out;
}

std::string llama_config(DType dtype, LlamaSize size) {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": )" + std::to_string(size.hidden) +
         R"(, "intermediate_size": )" + std::to_string(size.intermediate) + R"(, "num_hidden_layers": )" + std::to_string(size.layers) +
         R"(, "num_attention_heads": 2, "vocab_size": )" + std::to_string(size.vocabulary) + R"(, "torch_dtype": ")" +
         std::string(facts(dtype).torch_name) + "\"}\n";
}

std::string write_llama(const std::string& folder, std::uint64_t seed, DType dtype, int shards, LlamaSize size) {
  TinyModel model;
  model.tensors = llama_tensors(seed, dtype, size);
  model.config = llama_config(dtype, size);
  model.shards = shards;
  return write_tiny_model(folder, model);
}

std::string tensor_bytes(const Checkpoint& checkpoint, std::string_view name) {
  const StoredTensor* t = checkpoint.find(name);
  if (t == nullptr) throw std::runtime_error("no tensor " + std::string(name));
  std::string bytes(static_cast<std::size_t>(t->bytes), '\0');
  checkpoint.read(t->file, t->offset, bytes.data(), bytes.size());
  return bytes;
}

std::vector<double> tensor_values(const Checkpoint& checkpoint, std::string_view name) {
  const std::string bytes = tensor_bytes(checkpoint, name);
  return decode_values(checkpoint.find(name)->info.dtype, bytes);
}

Checkpoint open_checkpoint(const std::string& folder) {
  Diagnostics diagnostics;
  Checkpoint checkpoint = Checkpoint::open(folder, diagnostics);
  diagnostics.throw_if_errors();
  return checkpoint;
}

}  // namespace crucible
