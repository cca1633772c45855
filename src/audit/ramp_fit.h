// Density and epsilon from keep rates by magnitude.
#pragma once

#include <vector>

namespace crucible::foreign {

// The keep rate of the entries around one magnitude rank.
struct KeepRate {
  double rho = 0;  // mean rank, 0 (smallest) to 1 (largest)
  double rate = 0;
  double error = 0;  // standard error
};

struct RampFit {
  double density = 0, epsilon = 0;
  double density_error = 0, epsilon_error = 0;
  bool found = false;
};

// Weighted least squares of the ramp p(rho) = clamp(c - epsilon + 2 epsilon rho, 0, 1), c such that its mean is the density. Epsilon
// may come out negative: a ramp that falls.
RampFit fit_ramp(const std::vector<KeepRate>& rates, double density_guess);

}  // namespace crucible::foreign
