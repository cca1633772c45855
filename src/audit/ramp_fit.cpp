#include "audit/ramp_fit.h"

#include <algorithm>
#include <cmath>

#include "methods/shared/keep_ramp.h"

namespace crucible::foreign {
namespace {

// Ranks that stand for a row of any length.
constexpr std::int64_t kRanks = 4096;

double ramp_at(double density, double epsilon, double rho) {
  const KeepRamp ramp(density, std::abs(epsilon), kRanks);
  const double at = epsilon >= 0 ? rho : 1 - rho;
  return std::clamp(ramp.center() - std::abs(epsilon) + 2 * std::abs(epsilon) * at, 0.0, 1.0);
}

}  // namespace

RampFit fit_ramp(const std::vector<KeepRate>& rates, double density_guess) {
  RampFit fit;
  if (rates.size() < 2) return fit;
  double d = std::clamp(density_guess, 0.02, 0.98), e = 0.01;
  double a = 0, b = 0, c = 0;  // the normal matrix
  for (int step = 0; step < 60; ++step) {
    constexpr double kH = 1e-4;
    double g0 = 0, g1 = 0;
    a = b = c = 0;
    for (const KeepRate& r : rates) {
      const double weight = 1 / (r.error * r.error);
      const double off = r.rate - ramp_at(d, e, r.rho);
      const double dd = (ramp_at(std::min(d + kH, 1.0), e, r.rho) - ramp_at(d - kH, e, r.rho)) / (std::min(d + kH, 1.0) - d + kH);
      const double de = (ramp_at(d, e + kH, r.rho) - ramp_at(d, e - kH, r.rho)) / (2 * kH);
      a += weight * dd * dd;
      b += weight * dd * de;
      c += weight * de * de;
      g0 += weight * dd * off;
      g1 += weight * de * off;
    }
    const double determinant = a * c - b * b;
    if (!(determinant > 1e-12 * a * c)) break;
    const double to_d = std::clamp((c * g0 - b * g1) / determinant, -0.1, 0.1);
    const double to_e = std::clamp((a * g1 - b * g0) / determinant, -0.1, 0.1);
    d = std::clamp(d + to_d, 0.001, 0.9999);
    e = std::clamp(e + to_e, -1.0, 1.0);
    if (std::abs(to_d) + std::abs(to_e) < 1e-7) break;
  }
  const double determinant = a * c - b * b;
  fit.density = d;
  fit.epsilon = e;
  fit.found = a > 0;
  fit.density_error = determinant > 1e-12 * a * c ? std::sqrt(c / determinant) : 1 / std::sqrt(std::max(a, 1e-300));
  fit.epsilon_error = determinant > 1e-12 * a * c ? std::sqrt(a / determinant) : HUGE_VAL;
  return fit;
}

}  // namespace crucible::foreign
