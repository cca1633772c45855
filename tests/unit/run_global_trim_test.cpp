// TIES as in its paper, over a whole merge: one threshold for all tensors of a model, and the majority sign where a sum is zero. Against
// a plain computation on all tensors at once.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crucible/crucible.h"
#include "support/kernel_driver.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

using Values = std::map<std::string, std::vector<double>>;

// Whole numbers, so that equal magnitudes and sums of exactly zero are frequent; three tensors of different spread.
Values random_model(std::uint64_t seed, int most_above) {
  test::Rng rng(seed);
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> tensors = {
      {"b.small", {7, 2}}, {"a.wide", {600, 12}}, {"c.narrow", {300, 4}}};
  Values model;
  for (const auto& [name, size] : tensors) {
    for (std::int64_t i = 0; i < size.first; ++i)
      model[name].push_back(static_cast<double>(test::below(rng, 2 * size.second + 1 + most_above) - size.second));
  }
  return model;
}

std::string write_model(const std::string& folder, const Values& values) {
  TinyModel model;
  for (const auto& [name, v] : values) model.tensors.push_back(make_tensor(name, DType::kF32, {static_cast<std::int64_t>(v.size())}, v));
  model.shards = 2;
  return write_tiny_model(folder, model);
}

// Keeps the trunc(density * n) largest of all tensors, in the order of their names.
Values trimmed(const Values& delta, double density) {
  std::vector<std::pair<std::string, std::size_t>> order;
  for (const auto& [name, v] : delta) {
    for (std::size_t i = 0; i < v.size(); ++i) order.emplace_back(name, i);
  }
  std::stable_sort(order.begin(), order.end(), [&](const auto& x, const auto& y) {
    return std::abs(delta.at(x.first)[x.second]) > std::abs(delta.at(y.first)[y.second]);
  });
  Values kept = delta;
  const auto take = static_cast<std::size_t>(density * static_cast<double>(order.size()));
  for (std::size_t r = take; r < order.size(); ++r) kept[order[r].first][order[r].second] = 0;
  return kept;
}

// Models are 0-based integers around a base of zeros, so values are task vectors.
Values expected(const std::vector<Values>& models, const std::vector<double>& densities, bool paper) {
  std::vector<Values> kept;
  for (std::size_t m = 0; m < models.size(); ++m) kept.push_back(trimmed(models[m], densities[m]));
  std::int64_t balance = 0;
  for (const auto& [name, v] : kept[0]) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      double sum = 0;
      for (const Values& k : kept) sum += k.at(name)[i];
      balance += sum > 0 ? 1 : sum < 0 ? -1 : 0;
    }
  }
  const bool zero_is_plus = !paper || balance >= 0;
  Values out = kept[0];
  for (auto& [name, v] : out) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      double sum = 0, winning = 0, winners = 0;
      for (const Values& k : kept) sum += k.at(name)[i];
      const bool up = sum > 0 || (sum == 0 && zero_is_plus);
      for (const Values& k : kept) {
        const double x = k.at(name)[i];
        if (up ? x > 0 : x < 0) {
          winning += x;
          winners += 1;
        }
      }
      v[i] = winners > 0 ? winning / winners : 0;
    }
  }
  return out;
}

class GlobalTrimMerge : public ::testing::Test {
 protected:
  Values run(const std::vector<Values>& models, const std::vector<double>& densities, const std::string& parameters, int threads = 2,
             std::int64_t shard_bytes = 1000) {
    Values zeros = models[0];
    for (auto& [name, v] : zeros) std::fill(v.begin(), v.end(), 0.0);
    write_model(box_ / "base", zeros);
    MergeRequest request;
    request.model_dirs = {{"base", box_ / "base"}};
    request.recipe_text = "merge_method: ties\nbase_model: base\nparameters: {" + parameters + "}\nmodels:\n";
    for (std::size_t m = 0; m < models.size(); ++m) {
      const std::string name = "m" + std::to_string(m);
      write_model(box_ / name, models[m]);
      request.model_dirs.emplace_back(name, box_ / name);
      request.recipe_text += "- {model: " + name + ", parameters: {weight: 1, density: " + std::to_string(densities[m]) + "}}\n";
    }
    request.threads = threads;
    request.shard_bytes = shard_bytes;
    request.existing = ExistingOutput::kReplace;
    report_ = merge(request, box_ / "out");
    const Checkpoint out = open_checkpoint(box_ / "out");
    Values values;
    for (const StoredTensor& t : out.tensors()) values[t.info.name] = tensor_values(out, t.info.name);
    return values;
  }

  TempFolder box_;
  MergeReport report_;
};

void expect_equal(const Values& a, const Values& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, v] : a) {
    ASSERT_EQ(v.size(), b.at(name).size());
    for (std::size_t i = 0; i < v.size(); ++i) EXPECT_EQ(static_cast<float>(v[i]), static_cast<float>(b.at(name)[i])) << name << " " << i;
  }
}

TEST_F(GlobalTrimMerge, OneThresholdForTheWholeModel) {
  const std::vector<Values> models = {random_model(1, 0), random_model(2, 0), random_model(3, 0)};
  const std::vector<double> densities = {0.3, 0.55, 0.1};
  const Values out = run(models, densities, "trim_scope: model");
  expect_equal(out, expected(models, densities, false));
  for (std::size_t m = 0; m < models.size(); ++m) EXPECT_EQ(report_.effects[m].kept, static_cast<std::int64_t>(densities[m] * 907));
}

TEST_F(GlobalTrimMerge, ZeroSumsTakeTheSignOfTheMajority) {
  for (const int most_above : {0, 6}) {
    std::vector<Values> models = {random_model(4, most_above), random_model(5, most_above)};
    // Turned round: most elements are negative.
    for (const double sign : {1.0, -1.0}) {
      for (Values& m : models) {
        for (auto& [name, v] : m) std::transform(v.begin(), v.end(), v.begin(), [sign](double x) { return sign * x; });
      }
      expect_equal(run(models, {0.6, 0.7}, "trim_scope: model, elect: paper"), expected(models, {0.6, 0.7}, true));
    }
  }
  // The option matters here: mergekit's form gives another result.
  std::vector<Values> models = {random_model(4, 6), random_model(5, 6)};
  for (Values& m : models) {
    for (auto& [name, v] : m) std::transform(v.begin(), v.end(), v.begin(), [](double x) { return -x; });
  }
  EXPECT_NE(run(models, {0.6, 0.7}, "trim_scope: model"), run(models, {0.6, 0.7}, "trim_scope: model, elect: paper"));
}

TEST_F(GlobalTrimMerge, EdgesOfDensity) {
  const std::vector<Values> models = {random_model(6, 0), random_model(7, 0)};
  expect_equal(run(models, {0, 1}, "trim_scope: model, elect: paper"), expected(models, {0, 1}, true));
}

TEST_F(GlobalTrimMerge, SameBytesForAnyThreadsAndShards) {
  const std::vector<Values> models = {random_model(8, 0), random_model(9, 0)};
  const Values one = run(models, {0.35, 0.35}, "trim_scope: model, elect: paper", 1, 1'000'000);
  EXPECT_EQ(one, run(models, {0.35, 0.35}, "trim_scope: model, elect: paper", 7, 500));
}

TEST_F(GlobalTrimMerge, RefusesWhatDoesNotGoTogether) {
  const auto problem = [&](const std::string& parameters, const std::string& density) {
    const Values m = random_model(10, 0);
    write_model(box_ / "base", m);
    write_model(box_ / "a", m);
    MergeRequest request;
    request.model_dirs = {{"base", box_ / "base"}, {"a", box_ / "a"}};
    request.recipe_text = "merge_method: ties\nbase_model: base\nparameters: {" + parameters +
                          "}\nmodels: [{model: a, parameters: {weight: 1, density: " + density + "}}]\n";
    std::string all;
    const Diagnostics found = check(request);
    for (const Diagnostic& d : found.items()) all += d.message + "\n";
    return all;
  };
  EXPECT_NE(problem("elect: paper", "0.5").find("elect: paper needs trim_scope: model"), std::string::npos);
  EXPECT_NE(problem("trim_scope: model, elect: paper, rescale: true", "0.5").find("does not go with rescale"), std::string::npos);
  EXPECT_NE(problem("trim_scope: model", "[{filter: wide, value: 0.2}, {value: 0.5}]").find("one density for all tensors"),
            std::string::npos);
  EXPECT_EQ(problem("trim_scope: model, elect: paper", "0.5"), "");
}

}  // namespace
}  // namespace crucible
