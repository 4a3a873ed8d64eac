// How `gsplit status` and `gsplit stop` find a running coordinator and its credentials without
// being told: a file in a folder that only the user can enter, $XDG_RUNTIME_DIR/gsplit or
// /tmp/gsplit-UID. It is locked while its writer lives and removed at its end; what a killed one
// has left is known by the missing lock, and swept by whoever meets it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/control/credentials.h"

namespace gsplit {

/// Where a coordinator is: its address, or several of them, the likeliest first, separated by
/// commas; and what it is to be met with.
struct Contact {
  std::string address;
  Credentials credentials;
  /// The first one: for users.
  std::string first_address() const { return address.substr(0, address.find(',')); }
};

/// Thread-safe where not modified.
class ContactCard {
 public:
  /// Never throws for the outside world's faults: see problem().
  explicit ContactCard(const Contact& contact);
  ~ContactCard();
  ContactCard(const ContactCard&) = delete;
  ContactCard& operator=(const ContactCard&) = delete;

  /// Why it could not be written; empty where it was, or lies there already.
  const std::string& problem() const { return problem_; }

 private:
  void write(const Contact& contact);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string problem_;
};

/// The contacts of this user's coordinators that this host knows of and whose writers live.
std::vector<Contact> find_contacts();
/// That of `address`; throws UsageError where there is none. The port decides where the host is
/// written in another way: whoever else answers there cannot show the certificate.
Contact find_contact(const std::string& address);
/// The only one there is; throws UsageError where there are none or several.
Contact only_contact();

}  // namespace gsplit
