// Logging of the process: spdlog to stderr.
#pragma once

#include <string>

namespace astray {

// level: debug, info, warning, error or off. gRPC's own log goes to the same place, one level of importance lower: what
// it calls an error (a port in use, say) also comes back as a status, and is said once. Call once, before any thread.
void ConfigureLogging(const std::string& level);

}  // namespace astray
