// Takes connections for the coordinator's server and keeps strangers from taking its host's
// resources: whoever has not shown the token some seconds after connecting is put out, whatever it
// sends or does not send, and only so many may try at once: when there are more, the one that has
// been there longest goes.
//
// Knows sockets only; the server takes a connection by its descriptor and says by admit() who has
// shown the token.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace gsplit {

struct DoormanOptions {
  std::string host = "127.0.0.1";
  std::string port = "0";
  std::size_t max_strangers = 64;
  std::chrono::milliseconds patience{5000};
};

/// Thread-safe, with a thread of its own between open() and close().
class Doorman {
 public:
  /// Binds the address. Throws SystemError where that is not possible.
  explicit Doorman(const DoormanOptions& options);
  ~Doorman();
  Doorman(const Doorman&) = delete;
  Doorman& operator=(const Doorman&) = delete;

  int port() const { return port_; }
  /// From now on connections are taken: `take` owns the descriptor, which does not block. Once.
  void open(std::function<void(int descriptor)> take);
  /// `peer`, "ipv4:10.0.0.2:4711" as gRPC writes it, has shown the token. False where it has been
  /// put out already.
  bool admit(const std::string& peer);
  /// No more connections.
  void close();
  /// After the server's end: what is still open is closed.
  void clear();
  /// Connections that were put out.
  std::uint64_t num_put_out() const;

 private:
  using Clock = std::chrono::steady_clock;
  /// A connection; the server has a descriptor of its own of the same socket.
  struct Guest {
    int descriptor = -1;
    Clock::time_point since;
    bool admitted = false;
  };
  using Guests = std::map<std::string, Guest>;  // by peer

  void watch();
  void let_go(const std::vector<std::string>& gone);
  void put_out_late_ones();
  void make_room();
  void accept_all();
  bool welcome(int descriptor, const std::string& peer);
  /// REQUIRES: mutex_ held, as the ones below.
  int milliseconds_to_next_look() const;
  Guests::iterator oldest_stranger();
  void put_out(Guests::iterator guest);

  const DoormanOptions options_;
  std::function<void(int)> take_;
  int listener_ = -1;
  int wake_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  Guests guests_;
  std::size_t num_strangers_ = 0;
  std::uint64_t num_put_out_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace gsplit
