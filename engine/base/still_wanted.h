// Asked by work that takes long, between its steps: OK, or what the work ends with, as nobody waits for it any more.
// Called often and on the thread that works. A default of absl::OkStatus is work that is always wanted.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace astray {

using StillWanted = absl::FunctionRef<absl::Status()>;

}  // namespace astray
