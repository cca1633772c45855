// Events of yaml-cpp -> Node trees, within limits.
#pragma once

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/emitterstyle.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/mark.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "crucible/error.h"
#include "text/lines.h"
#include "text/node.h"
#include "text/yaml.h"

namespace crucible {

// Thrown (after the diagnostic was written) when going on makes no sense.
struct StopParsing {};

class YamlBuilder : public YAML::EventHandler {
 public:
  // All references must outlive the builder. `on_event` is set to true by every event.
  YamlBuilder(std::string_view text, const LineIndex& lines, const std::string& file, const YamlLimits& limits, Diagnostics& diagnostics,
              bool& on_event);

  std::vector<Node> take_documents() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark& mark) override;
  void OnDocumentEnd() override;
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override;
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override;
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override;
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override;
  void OnSequenceEnd() override;
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override;
  void OnMapEnd() override;

 private:
  // A finished subtree with what it adds to the limits.
  struct Built {
    Node node;
    std::size_t cost = 1;
    int height = 0;  // collections above the deepest scalar
  };
  // A collection that is still open.
  struct Frame {
    Built built;
    YAML::anchor_t anchor = 0;
    bool has_key = false;      // kMap: a key waits for its value
    bool key_is_valid = true;  // its value is dropped otherwise
    bool key_is_merge = false;
    std::string key;
    Place key_place;
    std::unordered_map<std::string, Place> seen;
    std::vector<Node> merged;  // values of "<<"
  };

  void note_event(const YAML::Mark& mark);
  Place place_of(const YAML::Mark& mark) const;
  void error(const Place& place, std::string message, std::string hint = {});
  [[noreturn]] void stop(const Place& place, std::string message, std::string hint = {});
  void spend(std::size_t cost, const Place& place);
  void check_tag(const std::string& tag, const Place& place);
  void check_quotes(const YAML::Mark& mark);
  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor);
  void close();
  void keep_anchor(YAML::anchor_t anchor, const Built& built);
  void add(Built built);
  void add_key(Frame& frame, Node node);
  void add_value(Frame& frame, Node node);
  void apply_merges(Frame& frame);

  std::string_view text_;
  const LineIndex& lines_;
  const std::string& file_;
  const YamlLimits& limits_;
  Diagnostics& diagnostics_;
  bool& on_event_;
  std::vector<Node> documents_;
  std::vector<Frame> frames_;
  std::unordered_map<YAML::anchor_t, Built> anchors_;
  std::size_t spent_ = 0;
  int last_event_ = -1;  // byte position
  int events_here_ = 0;
};

}  // namespace crucible
