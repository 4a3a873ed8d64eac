#include "runtime/control/contact_card.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>

#include "runtime/control/secret_file.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

fs::path folder_in_tmp() { return fmt::format("/tmp/gsplit-{}", geteuid()); }

/// Where cards may lie; the first one is written to.
std::vector<fs::path> folders() {
  std::vector<fs::path> found;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') found.push_back(fs::path(runtime) / "gsplit");
  found.push_back(folder_in_tmp());
  return found;
}

/// Whether it is a folder that nobody else can enter: /tmp is everybody's.
bool is_private(const fs::path& folder) {
  struct stat state {};
  return lstat(folder.c_str(), &state) == 0 && S_ISDIR(state.st_mode) &&
         state.st_uid == geteuid() && (state.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

std::optional<fs::path> make_folder() {
  for (const fs::path& folder : folders()) {
    mkdir(folder.c_str(), S_IRWXU);
    if (is_private(folder)) return folder;
  }
  return std::nullopt;
}

std::string name_of_card(const std::string& address) {
  std::string name = address;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

std::string to_text(const Contact& contact) {
  return contact.address + "\n" + contact.credentials.token + "\n" +
         contact.credentials.certificate;
}

Contact from_text(const std::string& text) {
  std::istringstream lines(text);
  Contact contact;
  std::getline(lines, contact.address);
  std::getline(lines, contact.credentials.token);
  contact.credentials.certificate = text.substr(
      std::min(text.size(), contact.address.size() + contact.credentials.token.size() + 2));
  return contact;
}

/// Whether its writer has ended: nobody holds the lock. The file is removed then.
bool sweep(const fs::path& card) {
  const int descriptor = open(card.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return true;
  const bool dead = flock(descriptor, LOCK_SH | LOCK_NB) == 0;
  if (dead) unlink(card.c_str());
  close(descriptor);
  return dead;
}

std::vector<fs::path> cards_in(const fs::path& folder) {
  std::vector<fs::path> cards;
  if (!is_private(folder)) return cards;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const fs::path& card = entry.path();
    if (!card.filename().string().starts_with(".") && !sweep(card)) cards.push_back(card);
  }
  return cards;
}

std::string port_of(const std::string& address) {
  return address.substr(std::min(address.size(), address.rfind(':')));
}

}  // namespace

ContactCard::ContactCard(const Contact& contact) { write(contact); }

void ContactCard::write(const Contact& contact) {
  const std::optional<fs::path> folder = make_folder();
  if (!folder) {
    problem_ = fmt::format("no folder of this user alone at {}", folders().back().string());
    return;
  }
  cards_in(*folder);  // sweeps those of killed runs
  const fs::path card = *folder / name_of_card(contact.first_address());
  std::error_code ignored;
  if (fs::exists(card, ignored) && !sweep(card)) return;  // of the same job, by another process
  // Locked before it bears its name, so that nobody takes it for a dead one's.
  const fs::path draft = *folder / fmt::format(".{}-{}", card.filename().string(), getpid());
  unlink(draft.c_str());
  descriptor_ = make_secret_file(draft, to_text(contact));
  if (descriptor_ < 0 || flock(descriptor_, LOCK_EX | LOCK_NB) != 0 ||
      rename(draft.c_str(), card.c_str()) != 0) {
    problem_ = card.string() + ": " + std::strerror(errno);
    return;
  }
  path_ = card;
}

ContactCard::~ContactCard() {
  if (!path_.empty()) unlink(path_.c_str());
  if (descriptor_ >= 0) close(descriptor_);
}

std::vector<Contact> find_contacts() {
  std::vector<Contact> found;
  for (const fs::path& folder : folders()) {
    for (const fs::path& card : cards_in(folder)) {
      try {
        found.push_back(from_text(read_secret_file(card, card.string())));
      } catch (const UsageError&) {
        // Gone meanwhile, or of no use.
      }
    }
  }
  return found;
}

Contact find_contact(const std::string& address) {
  std::vector<Contact> found = find_contacts();
  const auto best = [&] {
    const auto same = std::find_if(found.begin(), found.end(), [&](const Contact& contact) {
      return contact.first_address() == address;
    });
    if (same != found.end()) return same;
    return std::find_if(found.begin(), found.end(), [&](const Contact& contact) {
      return port_of(contact.first_address()) == port_of(address);
    });
  }();
  if (best == found.end()) {
    throw UsageError(
        fmt::format("no token for the coordinator at {}: this host knows of no such run of yours",
                    address),
        "is the run over? ask on a host of the run, as the user who started it, or give --tls-ca "
        "and --token-file");
  }
  best->address = address;
  return *best;
}

Contact only_contact() {
  std::vector<Contact> found = find_contacts();
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    throw UsageError("no coordinator's address given, and this host knows of no run of yours",
                     "give ADDR or set GSPLIT_COORDINATOR; the run's log prints the address");
  }
  std::string addresses;
  for (const Contact& contact : found) addresses += " " + contact.first_address();
  throw UsageError("several runs of yours are under way:" + addresses, "give the address of one");
}

}  // namespace gsplit
