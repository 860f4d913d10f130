#include "client/http_fetch.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

constexpr long kConnectMs = 5000;
constexpr int kPollMs = 1000;  // at most: libcurl knows its own timers

std::string Escaped(const std::string& text) {
  const std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
  return escaped == nullptr ? "" : escaped.get();
}

struct Body {
  std::string* text;
  size_t max_bytes;
  bool too_large = false;

  static size_t Append(char* data, size_t /*one*/, size_t size, void* self) {
    auto* body = static_cast<Body*>(self);
    body->too_large = body->text->size() + size > body->max_bytes;
    if (body->too_large) return 0;  // ends the transfer
    body->text->append(data, size);
    return size;
  }
};

}  // namespace

absl::StatusOr<HttpReply> HttpFetch(const HttpRequest& request) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi(curl_multi_init(), curl_multi_cleanup);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), curl_easy_cleanup);
  if (initialised != CURLE_OK || multi == nullptr || easy == nullptr)
    return absl::InternalError("libcurl: cannot start");
  std::string url = request.url;
  char separator = '?';
  for (const auto& [name, value] : request.parameters) {
    absl::StrAppend(&url, std::string(1, separator), name, "=", Escaped(value));
    separator = '&';
  }
  HttpReply reply;
  Body body = {&reply.body, request.max_body_bytes};
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(request.timeout)));
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, Body::Append);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &body);
  curl_multi_add_handle(multi.get(), easy.get());
  CURLcode result = CURLE_OK;
  bool stopped = false;
  for (int running = 1; running > 0 && !stopped;) {
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) result = CURLE_FAILED_INIT;
    if (result != CURLE_OK || running == 0) break;
    curl_waitfd stop = {request.stop_fd, CURL_WAIT_POLLIN, 0};
    curl_multi_poll(multi.get(), &stop, request.stop_fd >= 0 ? 1 : 0, kPollMs, nullptr);
    stopped = stop.revents != 0;
  }
  for (int left = 0; CURLMsg* message = curl_multi_info_read(multi.get(), &left);) {
    if (message->msg == CURLMSG_DONE) result = message->data.result;
  }
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &reply.status);
  curl_multi_remove_handle(multi.get(), easy.get());
  if (stopped) return absl::CancelledError("stopped");
  if (body.too_large) {
    return absl::ResourceExhaustedError(absl::StrCat("expected at most ", request.max_body_bytes, " bytes in a reply"));
  }
  if (result != CURLE_OK) return absl::UnavailableError(curl_easy_strerror(result));
  return reply;
}

}  // namespace astray
