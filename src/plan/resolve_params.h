// From the recipe's levels to the parameters of each job; equal sets are shared.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "plan/enumerate.h"
#include "plan/plan.h"
#include "recipe/resolve.h"

namespace crucible {

class ParamResolver {
 public:
  ParamResolver(const Recipe& recipe, const Method& method, Diagnostics& diagnostics)
      : recipe_(recipe), method_(method), diagnostics_(diagnostics) {}

  std::shared_ptr<const Params> global(const LogicalTensor& tensor);
  std::shared_ptr<const Params> model(const LogicalTensor& tensor, const TensorUse& use, const std::string& model_name);

  // One notice for each setting of the recipe that no tensor took.
  void report_unused();

 private:
  std::shared_ptr<const Params> resolve_all(const FieldTable& table, const std::vector<SettingLevel>& levels, const LogicalTensor& logical,
                                            const std::string& tensor, const std::string& owner);
  void report_unused_of(const Settings& settings);
  void report_flat_gradient(const Setting& setting, const Condition& condition);

  const Recipe& recipe_;
  const Method& method_;
  Diagnostics& diagnostics_;
  struct PlaceOrder {
    bool operator()(const Place& a, const Place& b) const noexcept {
      return std::tie(a.line, a.column, a.file) < std::tie(b.line, b.column, b.file);
    }
  };

  std::map<std::string, std::shared_ptr<const Params>> known_;
  std::map<std::string, std::shared_ptr<const Params>> last_;                 // by model ("" = the whole merge): what was resolved last
  std::map<std::vector<const void*>, std::shared_ptr<const Params>> of_all_;  // by table and settings: where no value asks for the tensor
  std::set<Place, PlaceOrder> places_used_;
  std::map<Place, std::set<double>, PlaceOrder> positions_used_;  // of gradients, by tensors of layers
  std::set<std::string> missing_reported_;
};

}  // namespace crucible
