// The most that one core can multiply and add.
#pragma once

namespace astray::bench {

// Runs fused multiply-adds on the widest vectors of this machine, enough of them at once that none waits for another;
// gives how many floating-point operations these were (some 10^7).
double RunFmaLoop();

}  // namespace astray::bench
