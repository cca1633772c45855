#include "recipe/model_ref.h"

#include <gtest/gtest.h>

#include <string>

#include "text/yaml.h"

namespace crucible {
namespace {

struct Parsed {
  std::optional<ModelRef> ref;
  std::string complaints;
};

Parsed parse(const std::string& yaml) {
  Diagnostics diagnostics;
  const auto documents = parse_yaml(yaml, "r.yml", diagnostics);
  Parsed out;
  out.ref = parse_model_ref(documents.at(0), diagnostics);
  out.complaints = render_diagnostics(diagnostics);
  return out;
}

TEST(ModelRef, Texts) {
  EXPECT_EQ(parse("microsoft/phi-2").ref.value().model, (ModelPath{"microsoft/phi-2", ""}));
  EXPECT_EQ(parse("org/m@main").ref.value().model, (ModelPath{"org/m", "main"}));
  const ModelRef lora = parse("org/m@v1+x/l@v2").ref.value();
  EXPECT_EQ(lora.model, (ModelPath{"org/m", "v1"}));
  EXPECT_EQ(lora.lora.value(), (ModelPath{"x/l", "v2"}));
  EXPECT_EQ(lora.text(), "org/m@v1+x/l@v2");
  EXPECT_EQ(parse("C:\\models\\a").ref.value().model.path, "C:\\models\\a");
  EXPECT_EQ(parse("'C:\\models\\a b'").ref.value().text(), "C:\\models\\a b");
}

TEST(ModelRef, Mappings) {
  const ModelRef full = parse("{model: {path: a+b@c, revision: r}, lora: {path: l}, override_architecture: X}").ref.value();
  EXPECT_EQ(full.model, (ModelPath{"a+b@c", "r"}));
  EXPECT_EQ(full.lora.value().path, "l");
  EXPECT_EQ(full.override_architecture, "X");
  // Inside the mapping a text knows '@' but '+' is an ordinary character.
  EXPECT_EQ(parse("{model: a+b@r}").ref.value().model, (ModelPath{"a+b", "r"}));
  EXPECT_EQ(parse("{model: {path: a, revision: null}, lora: null, override_architecture: null}").ref.value().text(), "a");
}

TEST(ModelRef, TextsAreUniqueAndReadBack) {
  for (const char* yaml :
       {"a", "a@r", "a+l", "{model: {path: 'a+b'}}", "{model: {path: 'a@b', revision: 'x y'}}", "{model: a, override_architecture: 'Q\"'}",
        "{model: {path: '{model: x}'}}", "{model: {path: é}, lora: {path: 'p+q'}}"}) {
    const ModelRef ref = parse(yaml).ref.value();
    const std::string text = ref.text();
    const ModelRef again = parse(text.starts_with('{') ? text : "'" + text + "'").ref.value();
    EXPECT_EQ(again.text(), text) << yaml;
    EXPECT_EQ(again.model, ref.model) << yaml;
    EXPECT_EQ(again.override_architecture, ref.override_architecture) << yaml;
  }
  EXPECT_NE(parse("{model: {path: 'a+l'}}").ref.value().text(), parse("a+l").ref.value().text());
}

TEST(ModelRef, Mistakes) {
  const auto complaint = [](const std::string& yaml) {
    const Parsed p = parse(yaml);
    EXPECT_FALSE(p.ref.has_value()) << yaml;
    return p.complaints;
  };
  EXPECT_NE(
      complaint("a+b+c").find("r.yml:1:1: error: `a+b+c` has more than one `+`; a model reference is path[@revision][+lora[@revision]]"),
      std::string::npos);
  EXPECT_NE(complaint("a@b@c").find("`a@b@c` has more than one `@`"), std::string::npos);
  EXPECT_NE(complaint("a@").find("`a@` has no revision after its `@`"), std::string::npos);
  EXPECT_NE(complaint("''").find("the path of a model is empty"), std::string::npos);
  EXPECT_NE(complaint("+lora").find("the path of a model is empty"), std::string::npos);
  EXPECT_NE(complaint("[a, b]").find("a model reference must be a text or a mapping, not a list"), std::string::npos);
  EXPECT_NE(complaint("{path: a}").find("`model` is missing in a model reference"), std::string::npos);
  EXPECT_NE(complaint("{path: a}").find("write {model: {path: \"...\", revision: \"...\"}}"), std::string::npos);
  EXPECT_NE(complaint("{model: {revision: r}}").find("`path` is missing in a model path"), std::string::npos);
  EXPECT_NE(complaint("{model: [a]}").find("a model path must be a text or a mapping with `path`, not a list"), std::string::npos);
  const std::string control = complaint("\"C:\\new\"");
  EXPECT_NE(control.find("the model name `C:\\x0aew` holds a control character"), std::string::npos) << control;
  EXPECT_NE(parse("{model: {path: a, revison: b}}").complaints.find("did you mean `revision`?"), std::string::npos);
}

}  // namespace
}  // namespace crucible
