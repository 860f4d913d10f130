#include "engine/base/sha256.h"

#include <openssl/evp.h>

#include <memory>

#include "absl/strings/escaping.h"

namespace astray {

namespace {

std::string Digest(std::initializer_list<absl::string_view> parts) {
  std::string digest(32, '\0');
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (const absl::string_view part : parts) EVP_DigestUpdate(context.get(), part.data(), part.size());
  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return digest;
}

}  // namespace

std::string Sha256(absl::string_view bytes) { return Digest({bytes}); }

std::string Sha256Hex(absl::string_view bytes) { return absl::BytesToHexString(Sha256(bytes)); }

std::string Sha256Hex(std::initializer_list<absl::string_view> parts) { return absl::BytesToHexString(Digest(parts)); }

}  // namespace astray
