// What a coordinator and its callers are known by, as files: the card that a run leaves on its
// host, certificates, keys and tokens that were made by hand.
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "runtime/control/contact_card.h"
#include "runtime/control/credentials.h"
#include "runtime/control/secret_file.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

/// Of a run that lives: the lock is held while this object lives.
class Card {
 public:
  explicit Card(const std::string& text) {
    const std::filesystem::path folder = fuzz::scratch() / "gsplit";
    setenv("XDG_RUNTIME_DIR", fuzz::scratch().c_str(), 1);
    mkdir(folder.c_str(), S_IRWXU);
    path_ = folder / "127.0.0.1:4711";
    unlink(path_.c_str());
    descriptor_ = make_secret_file(path_, text);
    flock(descriptor_, LOCK_EX);
  }
  ~Card() {
    unlink(path_.c_str());
    close(descriptor_);
  }
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto files = fuzz::split_files(fuzz::text_of(data, size));
  const auto text = [&](const char* name) {
    const auto file = files.find(name);
    return file == files.end() ? std::string() : file->second;
  };
  {
    const Card card(text("card"));
    fuzz::accept_or_refuse([] {
      const Contact contact = only_contact();
      is_made_here(contact.credentials.certificate);
      find_contact(contact.first_address());
    });
  }
  const auto certificate = fuzz::write_input("cert.pem", text("cert.pem"));
  const auto key = fuzz::write_input("key.pem", text("key.pem"));
  const auto token = fuzz::write_input("token", text("token"));
  fuzz::accept_or_refuse([&] { is_made_here(read_credentials(certificate, token).certificate); });
  fuzz::accept_or_refuse([&] { read_identity(certificate, key, token); });
  return 0;
}
