// GET over HTTP or HTTPS, on libcurl. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace astray {

struct HttpReply {
  long status = 0;
  std::string body;
};

struct HttpRequest {
  std::string url;                                              // http:// or https://; redirects are not followed
  std::vector<std::pair<std::string, std::string>> parameters;  // encoded here
  absl::Duration timeout = absl::Seconds(10);
  size_t max_body_bytes = 64 << 20;
  int stop_fd = -1;  // once something can be read from it, the call is Cancelled
};

// Any status is a reply. Unavailable where there is none in time, ResourceExhausted where the body is too large: the
// rest is not received. Errors say why, and do not name the URL, which may hold a password.
absl::StatusOr<HttpReply> HttpFetch(const HttpRequest& request);

}  // namespace astray
