// What the coordinator and those who call it know each other by: a certificate that only the
// coordinator has the key of, and a token that only those of the job have. Both are made anew for
// each job, unless they are given as files.
#pragma once

#include <filesystem>
#include <string>

namespace gsplit {

/// What a caller needs: whom to trust, and what to show. `token` is secret.
struct Credentials {
  std::string certificate;  ///< PEM: the coordinator's own, or that of the authority that signed it
  std::string token;
};

/// What the coordinator needs: the private key is secret, too.
struct Identity {
  std::string certificate;  ///< PEM
  std::string private_key;  ///< PEM
  std::string token;

  Credentials credentials() const { return {certificate, token}; }
};

/// The name in a certificate that make_identity() has made: of no host, since the certificate
/// itself is what is known.
inline constexpr const char* kCertificateName = "gsplit-coordinator";

/// A key, a certificate that it signs itself, and a token of 256 random bits.
Identity make_identity();

/// Whether the PEM's first certificate is of make_identity(), so that it is the same whatever
/// address it is shown at.
bool is_made_here(const std::string& certificate);

/// Takes the same time wherever they differ.
bool same_secret(const std::string& one, const std::string& other);

/// The files of a coordinator that was configured by hand. Throws UsageError where one cannot be
/// read or is not what it should be, or where others can read a secret.
Credentials read_credentials(const std::filesystem::path& certificate,
                             const std::filesystem::path& token);
Identity read_identity(const std::filesystem::path& certificate,
                       const std::filesystem::path& private_key,
                       const std::filesystem::path& token);

/// Makes an identity and writes it as cert.pem, key.pem and token, the last two for the owner
/// alone. Throws UsageError where one of them exists or cannot be written.
void write_identity(const std::filesystem::path& directory);

}  // namespace gsplit
