// Who may talk to the coordinator, and what a stranger can do to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "kernels/base/error.h"
#include "runtime/control/contact_card.h"
#include "runtime/control/credentials.h"
#include "runtime/control/doorman.h"
#include "runtime/control/host_addresses.h"
#include "runtime/control/secret_file.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Folder {
 public:
  Folder() { GSPLIT_CHECK(mkdtemp(path_.data()) != nullptr); }
  ~Folder() { fs::remove_all(path_); }
  fs::path path() const { return path_; }
  fs::path write(const std::string& name, const std::string& text, mode_t mode) const {
    const fs::path file = path() / name;
    std::ofstream(file) << text;
    chmod(file.c_str(), mode);
    return file;
  }

 private:
  std::string path_ = testing::TempDir() + "gsplit-security-XXXXXX";
};

/// The cards of this test alone.
class RuntimeFolder : public Folder {
 public:
  RuntimeFolder() { setenv("XDG_RUNTIME_DIR", path().c_str(), 1); }
  ~RuntimeFolder() { unsetenv("XDG_RUNTIME_DIR"); }
};

template <class E, class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

mode_t mode_of(const fs::path& path) {
  struct stat state {};
  return stat(path.c_str(), &state) == 0 ? state.st_mode & 07777 : 0;
}

TEST(Identity, IsMadeAnewEachTime) {
  std::set<std::string> seen;
  for (int i = 0; i < 5; ++i) {
    const Identity identity = make_identity();
    EXPECT_TRUE(is_made_here(identity.certificate));
    EXPECT_THAT(identity.token, testing::MatchesRegex("[0-9a-f]*"));
    EXPECT_EQ(identity.token.size(), 64u);
    for (const std::string& text : {identity.certificate, identity.private_key, identity.token}) {
      EXPECT_TRUE(seen.insert(text).second);
    }
  }
  EXPECT_FALSE(is_made_here("no certificate"));
}

TEST(Identity, SecretsAreEqualInAllBytesOrNot) {
  EXPECT_TRUE(same_secret("", ""));
  EXPECT_TRUE(same_secret("abc", "abc"));
  EXPECT_FALSE(same_secret("abc", "abd"));
  EXPECT_FALSE(same_secret("abc", "ab"));
  EXPECT_FALSE(same_secret("", "a"));
}

TEST(Identity, IsWrittenForTheOwnerAndReadBack) {
  const Folder folder;
  const fs::path at = folder.path() / "new";
  write_identity(at);
  EXPECT_EQ(mode_of(at / "token"), 0600u);
  EXPECT_EQ(mode_of(at / "key.pem"), 0600u);
  const Identity identity = read_identity(at / "cert.pem", at / "key.pem", at / "token");
  EXPECT_TRUE(is_made_here(identity.certificate));
  EXPECT_EQ(read_credentials(at / "cert.pem", at / "token").token, identity.token);
  EXPECT_THAT(error_of<UsageError>([&] { write_identity(at); }), HasSubstr("cannot be made"));

  const Folder other;
  write_identity(other.path());
  EXPECT_THAT(error_of<UsageError>(
                  [&] { read_identity(at / "cert.pem", other.path() / "key.pem", at / "token"); }),
              HasSubstr("is not the key of"));
  chmod((at / "key.pem").c_str(), 0640);
  EXPECT_THAT(
      error_of<UsageError>([&] { read_identity(at / "cert.pem", at / "key.pem", at / "token"); }),
      HasSubstr("chmod 600"));
}

TEST(SecretFile, IsRefusedWhereOthersCanReadIt) {
  const Folder folder;
  const std::string token(40, 'x');
  const fs::path certificate = folder.write("cert.pem", make_identity().certificate, 0644);
  for (const mode_t mode : {0644, 0640, 0620, 0604, 0606, 0777}) {
    const fs::path file = folder.write("token", token, mode);
    EXPECT_THAT(error_of<UsageError>([&] { read_credentials(certificate, file); }),
                HasSubstr("can be read or written by others"))
        << std::oct << mode;
  }
  for (const mode_t mode : {0600, 0400}) {
    const fs::path file = folder.write("token", token + "\n", mode);
    EXPECT_EQ(read_credentials(certificate, file).token, token);
  }
  EXPECT_NE(error_of<UsageError>([&] { read_credentials(certificate, folder.path()); }), "");
  EXPECT_NE(error_of<UsageError>([&] { read_credentials(certificate, "/no/such/file"); }), "");
  EXPECT_NE(error_of<UsageError>([&] { read_credentials("/no/such/file", "/dev/null"); }), "");
}

TEST(SecretFile, HoldsAToken) {
  const Folder folder;
  const fs::path certificate = folder.write("cert.pem", make_identity().certificate, 0644);
  for (const std::string& text :
       {std::string(), std::string("short"), std::string(40, 'a') + " " + std::string(40, 'b'),
        std::string(40, '\x80'), std::string(2000, 'a'), std::string(70000, 'a')}) {
    const fs::path file = folder.write("token", text, 0600);
    EXPECT_NE(error_of<UsageError>([&] { read_credentials(certificate, file); }), "") << text;
  }
}

TEST(ContactCard, LiesInAPrivateFolderAsLongAsItsWriterLives) {
  const RuntimeFolder folder;
  const fs::path card = folder.path() / "gsplit" / "10.0.0.1:4711";
  const Contact contact{"10.0.0.1:4711,10.0.1.1:4711", make_identity().credentials()};
  {
    const ContactCard left(contact);
    EXPECT_EQ(left.problem(), "");
    EXPECT_EQ(mode_of(card), 0600u);
    EXPECT_EQ(mode_of(card.parent_path()), 0700u);
    for (const char* address : {"10.0.0.1:4711", "node-1:4711"}) {
      const Contact found = find_contact(address);
      EXPECT_EQ(found.address, address);
      EXPECT_EQ(found.credentials.token, contact.credentials.token);
      EXPECT_EQ(found.credentials.certificate, contact.credentials.certificate);
    }
    EXPECT_THROW(find_contact("10.0.0.1:4712"), UsageError);
    const ContactCard again(contact);  // by another rank of the host
    EXPECT_EQ(again.problem(), "");
  }
  EXPECT_FALSE(fs::exists(card));
}

TEST(ContactCard, OfADeadWriterIsSwept) {
  const RuntimeFolder folder;
  const fs::path card = folder.path() / "gsplit" / "10.0.0.1:4711";
  fs::create_directory(card.parent_path());
  chmod(card.parent_path().c_str(), 0700);
  std::ofstream(card) << "10.0.0.1:4711\ntoken\ncertificate\n";
  chmod(card.c_str(), 0600);
  EXPECT_THROW(find_contact("10.0.0.1:4711"), UsageError);
  EXPECT_FALSE(fs::exists(card));
}

TEST(ContactCard, IsNotLeftWhereOthersCouldReadIt) {
  const RuntimeFolder folder;
  const fs::path open_to_all = folder.path() / "gsplit";
  fs::create_directory(open_to_all);
  chmod(open_to_all.c_str(), 0755);
  const ContactCard left({"10.0.0.1:4711", make_identity().credentials()});
  EXPECT_TRUE(fs::is_empty(open_to_all));
}

/// Counts what the doorman hands over and closes it at the end.
class Server {
 public:
  void take(int descriptor) {
    const std::lock_guard lock(mutex_);
    taken_.push_back(descriptor);
  }
  ~Server() {
    for (const int descriptor : taken_) close(descriptor);
  }

 private:
  std::mutex mutex_;
  std::vector<int> taken_;
};

class Caller {
 public:
  explicit Caller(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    GSPLIT_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Caller() { close(socket_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  std::string name() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    return "ipv4:127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  int socket() const { return socket_; }
  bool is_put_out(int milliseconds) const {
    pollfd watched{socket_, POLLRDHUP, 0};
    return poll(&watched, 1, milliseconds) > 0;
  }

 private:
  int socket_;
};

/// Admits the caller once the doorman knows it.
void admit(Doorman& doorman, const Caller& caller) {
  for (int i = 0; i < 20; ++i) {
    doorman.admit(caller.name());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(Doorman, PutsOutWhoDoesNotShowTheTokenInTime) {
  Server server;
  Doorman doorman({.patience = std::chrono::milliseconds(200)});
  doorman.open([&](int descriptor) { server.take(descriptor); });
  const Caller known(doorman.port());
  admit(doorman, known);
  const Caller stranger(doorman.port());
  EXPECT_FALSE(stranger.is_put_out(100));
  EXPECT_TRUE(stranger.is_put_out(1000));
  EXPECT_FALSE(known.is_put_out(300));
  EXPECT_EQ(doorman.num_put_out(), 1u);
}

TEST(Doorman, LetsOnlySoManyStrangersInAndPutsOutTheOldest) {
  Server server;
  Doorman doorman({.max_strangers = 3});
  doorman.open([&](int descriptor) { server.take(descriptor); });
  const Caller known(doorman.port());
  admit(doorman, known);
  std::vector<std::unique_ptr<Caller>> strangers;
  for (int i = 0; i < 5; ++i) {
    strangers.push_back(std::make_unique<Caller>(doorman.port()));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(strangers[0]->is_put_out(1000));
  EXPECT_TRUE(strangers[1]->is_put_out(1000));
  for (int i = 2; i < 5; ++i) EXPECT_FALSE(strangers[static_cast<std::size_t>(i)]->is_put_out(20));
  EXPECT_FALSE(known.is_put_out(20));
}

TEST(Doorman, LetsAllWorkersComeAtOnce) {
  // Rank 0 is there already; each of the others is a stranger until its token is read.
  Coordinator coordinator({.world_size = 200, .deadline = std::chrono::seconds(30)});
  const std::string address = coordinator.address();
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  std::vector<std::unique_ptr<Caller>> workers;
  for (int i = 0; i < 200; ++i) workers.push_back(std::make_unique<Caller>(port));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(coordinator.num_put_out(), 0u);
  for (const auto& worker : workers) EXPECT_FALSE(worker->is_put_out(0));
}

std::size_t num_descriptors() {
  const fs::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(Doorman, KeepsNothingOfThoseWhoHaveGone) {
  Doorman doorman({});
  doorman.open([](int descriptor) { close(descriptor); });
  const std::size_t before = num_descriptors();
  for (int i = 0; i < 300; ++i) const Caller caller(doorman.port());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (num_descriptors() > before && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(num_descriptors(), before);
}

TEST(Stranger, IsRefusedByItsTokenAndHarmsNobody) {
  ControlFixture job(2, {.seed = 1, .batch_size = 100, .epochs = 3});
  job.open();
  const auto worker = job.client(0);
  Contact wrong = job.coordinator().contact();
  wrong.credentials.token.back() ^= 1;
  EXPECT_THAT(error_of<UsageError>([&] { query_status(wrong, true); }),
              HasSubstr("does not take this token"));
  EXPECT_THROW(request_stop(wrong), UsageError);
  ClientOptions options = job.options(1);
  options.contact = wrong;
  const auto stranger = job.client(options);
  EXPECT_THAT(error_of<UsageError>([&] { job.join(*stranger); }),
              HasSubstr("does not take this token"));
  stranger->report_failure("I wish you ill", 3);
  stranger->report_loss(0, "I wish you ill");
  EXPECT_FALSE(job.coordinator().failure());
  EXPECT_EQ(job.coordinator().stop_reason(), "");
  const auto second = job.client(1);  // the place is free
  std::thread joining([&] { job.join(*second); });
  job.join(*worker);
  joining.join();
}

/// Stands between workers and the coordinator, and treats the first connections as the doorman does
/// whom it puts out while their token is still unread: TLS is set up, then nothing more is read of
/// what the worker sends, then the connection ends.
class HastyDoor {
 public:
  HastyDoor(int port, int put_out) : behind_(port), to_put_out_(put_out) {
    door_.open([this](int descriptor) {
      fcntl(descriptor, F_SETFL, 0);  // the relay blocks
      const bool puts_out = to_put_out_-- > 0;
      relays_.emplace_back([this, descriptor, puts_out] { relay(descriptor, puts_out); });
    });
  }
  ~HastyDoor() {
    door_.close();
    ending_ = true;
  }
  int port() const { return door_.port(); }
  int num_put_out() const { return num_put_out_; }

 private:
  /// Bytes of the records up to the first encrypted one, which ends the handshake.
  static std::size_t bytes_of_handshake(const std::string& sent) {
    constexpr char kEncrypted = 23;
    for (std::size_t at = 0; at + 5 <= sent.size();) {
      const auto high = static_cast<unsigned char>(sent[at + 3]);
      const auto low = static_cast<unsigned char>(sent[at + 4]);
      const std::size_t end = at + 5 + high * 256u + low;
      if (end <= sent.size() && sent[at] == kEncrypted) return end;
      at = end;
    }
    return 0;
  }

  void relay(int worker, bool puts_out) {
    const Caller coordinator(behind_);
    std::array<pollfd, 2> ends{{{worker, POLLIN, 0}, {coordinator.socket(), POLLIN, 0}}};
    std::string sent;
    bool swallows = false;
    while (!ending_) {
      if (poll(ends.data(), ends.size(), 50) == 0) continue;
      std::array<char, 16384> bytes;
      for (const std::size_t from : {0, 1}) {
        if (ends[from].revents == 0) continue;
        const ssize_t count = recv(ends[from].fd, bytes.data(), bytes.size(), 0);
        const bool is_call = from == 0 && swallows;
        if (count <= 0 || is_call) {
          num_put_out_ += is_call ? 1 : 0;
          shutdown(worker, SHUT_RDWR);  // the door has a descriptor of its own
          close(worker);
          return;
        }
        auto length = static_cast<std::size_t>(count);
        if (from == 0 && puts_out) {
          const std::size_t before = sent.size();
          sent.append(bytes.data(), length);
          const std::size_t handshake = bytes_of_handshake(sent);
          swallows = handshake > 0;
          if (swallows) length = handshake - before;
        }
        if (send(ends[1 - from].fd, bytes.data(), length, MSG_NOSIGNAL) < 0) continue;
      }
    }
    close(worker);
  }

  const int behind_;
  std::atomic<int> to_put_out_;
  std::atomic<int> num_put_out_{0};
  std::atomic<bool> ending_{false};
  Doorman door_{{.patience = std::chrono::seconds(60)}};
  std::vector<std::jthread> relays_;
};

TEST(Doorman, WhomItPutsOutWhileTheyJoinComeAgain) {
  ControlFixture job(1, {.seed = 1, .batch_size = 100, .epochs = 3});
  job.open();
  const std::string& address = job.address();
  const HastyDoor door(std::stoi(address.substr(address.rfind(':') + 1)), 3);
  ClientOptions options = job.options(0);
  options.contact.address = "127.0.0.1:" + std::to_string(door.port());
  const auto worker = job.client(options);
  EXPECT_NO_THROW(job.join(*worker));
  EXPECT_GE(door.num_put_out(), 1);
  EXPECT_FALSE(worker->failure());
  EXPECT_FALSE(job.coordinator().failure());
  worker->report_finished();
}

TEST(Stranger, WhoShowsAnotherCertificateGetsNoToken) {
  ControlFixture job(1, {});
  Contact wrong = job.coordinator().contact();
  wrong.credentials.certificate = make_identity().certificate;  // of the same name
  EXPECT_THAT(error_of<SystemError>([&] { query_status(wrong, true); }),
              HasSubstr("no coordinator answers"));
}

TEST(HostAddresses, AreInTheOrderInWhichOthersAreReached) {
  for (const std::string& address : host_addresses()) EXPECT_FALSE(address.starts_with("127."));
  // The kernel goes from 127.0.0.1 to all of 127/8.
  const std::vector<std::string> own{"192.0.2.1", "127.0.0.1"};
  const std::vector<std::string> expected{"127.0.0.1", "192.0.2.1"};
  EXPECT_EQ(order_by_reach(own, {"127.0.0.2", "127.0.0.3"}), expected);
  EXPECT_EQ(order_by_reach(own, {"127.0.0.1", "192.0.2.1"}), own);  // our own say nothing
  EXPECT_EQ(order_by_reach(own, {}), own);
}

}  // namespace
}  // namespace gsplit
