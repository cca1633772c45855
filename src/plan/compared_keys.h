// Which keys of the small files of a model are compared between inputs, and what makes two spellings equal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace crucible {

inline constexpr const char* kConfig = "config.json";
inline constexpr const char* kGenerationConfig = "generation_config.json";
inline constexpr const char* kTokenizerConfig = "tokenizer_config.json";
inline constexpr const char* kChatTemplate = "tokenizer files";
inline constexpr const char* kTokenizer = "tokenizer.json";
inline constexpr std::int64_t kMaxComparedBytes = 64'000'000;

// Normalised key -> normalised value. Keys of nested objects are joined by dots; null is absent.
using ComparedValues = std::map<std::string, std::string>;

// Empty when the text is empty or no JSON object.
std::optional<ComparedValues> compared_config(const std::string& text);
std::optional<ComparedValues> compared_generation_config(const std::string& text);
std::optional<ComparedValues> compared_tokenizer_config(const std::string& text);
// The template that counts where a model has several: the .jinja file, chat_template.json, tokenizer_config.json.
std::optional<ComparedValues> compared_chat_template(const std::string& jinja, const std::string& json,
                                                     const std::string& tokenizer_config);
// Which tokens there are under which ids, as a hash, and how many.
std::optional<ComparedValues> compared_tokenizer(const std::string& folder);

struct ComparedKey {
  std::string name;                // normalised
  std::string shown;               // to people
  std::string_view kind;           // "rope settings"; empty = not compared
  std::string_view otherwise;      // what an absent key means; empty = see absent_is_a_value
  bool absent_is_a_value = false;  // absent differs from every value; otherwise an absent key is not compared
};
ComparedKey compared_key(std::string_view file, const std::string& name);

}  // namespace crucible
