#include "graph/import/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr std::size_t kStored = std::size_t{1} << 18;
constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kChunks = 4;

using Buffer = std::unique_ptr<char[]>;  // not zeroed: small files are many

/// The file as stored.
class StoredFile {
 public:
  explicit StoredFile(const std::filesystem::path& path) : path_(path) {
    // Non-blocking, so that a pipe given by mistake is refused instead of waited for.
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    const bool opened = fd_ >= 0 && ::fstat(fd_, &status) == 0;
    const int error = errno;
    const bool regular = opened && S_ISREG(status.st_mode);
    size_ = static_cast<std::uint64_t>(status.st_size);
    if (regular) return;
    if (fd_ >= 0) ::close(fd_);
    throw UsageError(
        "cannot open " + path.string() + ": " + (opened ? "not a file" : std::strerror(error)),
        "check the path and its permissions");
  }
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;
  ~StoredFile() { ::close(fd_); }

  /// Bytes put into `out`, 0 at the end.
  std::size_t read(std::span<char> out) {
    for (;;) {
      const ssize_t done = ::read(fd_, out.data(), out.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) {
        throw SystemError("cannot read " + path_.string() + ": " + std::strerror(errno),
                          "check the disk's health");
      }
      consumed_ += static_cast<std::uint64_t>(done);
      return static_cast<std::size_t>(done);
    }
  }
  /// The first bytes, which are read again afterwards.
  std::string peek(std::size_t bytes) const {
    std::string start(bytes, '\0');
    const ssize_t done = ::pread(fd_, start.data(), bytes, 0);
    start.resize(done > 0 ? static_cast<std::size_t>(done) : 0);
    return start;
  }

  [[noreturn]] void refuse(const std::string& fault, std::uint64_t offset) const {
    throw UsageError(path_.string() + " " + fault + " at byte " + std::to_string(offset),
                     "copy or download it again");
  }

  std::uint64_t size() const { return size_; }
  std::uint64_t consumed() const { return consumed_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::atomic<std::uint64_t> consumed_{0};
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Bytes put into `out`, 0 at the end only.
  virtual std::size_t read(std::span<char> out) = 0;
};

class PlainDecoder : public Decoder {
 public:
  explicit PlainDecoder(StoredFile& file) : file_(file) {}
  std::size_t read(std::span<char> out) override { return file_.read(out); }

 private:
  StoredFile& file_;
};

class GzipDecoder : public Decoder {
 public:
  explicit GzipDecoder(StoredFile& file) : file_(file) {
    GSPLIT_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK);  // 16: gzip, not zlib
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  std::size_t read(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    while (stream_.avail_out == out.size()) {
      if (stream_.avail_in == 0 && !refill()) {
        if (inside_member_) file_.refuse("is truncated: its gzip stream ends", file_.consumed());
        return 0;
      }
      inflate_some();
    }
    return out.size() - stream_.avail_out;
  }

 private:
  bool refill() {
    stream_.avail_in = static_cast<uInt>(file_.read({stored_.get(), kStored}));
    stream_.next_in = reinterpret_cast<Bytef*>(stored_.get());
    return stream_.avail_in > 0;
  }
  void inflate_some() {
    inside_member_ = true;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      inside_member_ = false;
      inflateReset(&stream_);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      file_.refuse("has a damaged gzip stream", file_.consumed() - stream_.avail_in);
    }
  }

  StoredFile& file_;
  Buffer stored_ = std::make_unique_for_overwrite<char[]>(kStored);
  z_stream stream_{};
  bool inside_member_ = false;
};

class ZstdDecoder : public Decoder {
 public:
  explicit ZstdDecoder(StoredFile& file) : file_(file), stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr) throw SystemError("no memory for a zstd decompressor");
  }
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer decoded{out.data(), out.size(), 0};
    while (decoded.pos == 0) {
      // At the end of the input the decoder may still hold decoded bytes back.
      const bool more = input_.pos < input_.size || refill();
      if (!more && !inside_frame_) return 0;
      decode_some(decoded);
      if (!more && decoded.pos == 0) {
        file_.refuse("is truncated: its zstd frame ends", file_.consumed());
      }
    }
    return decoded.pos;
  }

 private:
  bool refill() {
    input_ = {stored_.get(), file_.read({stored_.get(), kStored}), 0};
    return input_.size > 0;
  }
  void decode_some(ZSTD_outBuffer& decoded) {
    const std::size_t result = ZSTD_decompressStream(stream_, &decoded, &input_);
    if (ZSTD_isError(result)) {
      file_.refuse(
          std::string("has a zstd frame that cannot be read (") + ZSTD_getErrorName(result) + ")",
          file_.consumed() - (input_.size - input_.pos));
    }
    inside_frame_ = result != 0;
  }

  StoredFile& file_;
  Buffer stored_ = std::make_unique_for_overwrite<char[]>(kStored);
  ZSTD_DStream* stream_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  bool inside_frame_ = false;
};

std::unique_ptr<Decoder> make_decoder(StoredFile& file) {
  const std::string start = file.peek(4);
  if (start.starts_with("\x1f\x8b")) return std::make_unique<GzipDecoder>(file);
  if (start == "\x28\xb5\x2f\xfd") return std::make_unique<ZstdDecoder>(file);
  return std::make_unique<PlainDecoder>(file);
}

}  // namespace

/// Fills a ring of chunks ahead of the consumer.
class ByteSource::Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : file_(path), decoder_(make_decoder(file_)), thread_([this] { run(); }) {}
  ~Reader() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::span<const char> next() {
    std::unique_lock lock(mutex_);
    if (lent_) {
      lent_ = false;
      ++taken_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return filled_ > taken_ || finished_; });
    if (filled_ == taken_) {
      if (failure_) std::rethrow_exception(failure_);
      return {};
    }
    lent_ = true;
    const Chunk& chunk = chunks_[taken_ % kChunks];
    return {chunk.bytes.get(), chunk.size};
  }

  const StoredFile& file() const { return file_; }

 private:
  struct Chunk {
    Buffer bytes;  // kChunk, from its first use on
    std::size_t size = 0;
  };

  void run() {
    std::exception_ptr failure;
    try {
      while (fill_one()) {
      }
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    finished_ = true;
    changed_.notify_all();
  }

  /// Waits for a free chunk and fills it; false at the end or when nobody reads any more.
  bool fill_one() {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return filled_ - taken_ < kChunks || stopped_; });
      if (stopped_) return false;
    }
    Chunk& chunk = chunks_[filled_ % kChunks];  // only this thread moves filled_
    if (!chunk.bytes) chunk.bytes = std::make_unique_for_overwrite<char[]>(kChunk);
    chunk.size = 0;
    while (chunk.size < kChunk) {
      const std::size_t more =
          decoder_->read({chunk.bytes.get() + chunk.size, kChunk - chunk.size});
      if (more == 0) break;
      chunk.size += more;
    }
    if (chunk.size == 0) return false;
    const std::lock_guard lock(mutex_);
    ++filled_;
    changed_.notify_all();
    return true;
  }

  StoredFile file_;
  std::unique_ptr<Decoder> decoder_;
  std::array<Chunk, kChunks> chunks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t filled_ = 0;  // chunks ever filled
  std::size_t taken_ = 0;   // and given back
  bool lent_ = false;       // chunk number taken_ is with the consumer
  bool finished_ = false;
  bool stopped_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: it uses all of the above
};

ByteSource::ByteSource(const std::filesystem::path& path)
    : path_(path), reader_(std::make_unique<Reader>(path)) {}
ByteSource::~ByteSource() = default;

std::span<const char> ByteSource::next() { return reader_->next(); }
double ByteSource::progress() const {
  const StoredFile& file = reader_->file();
  return static_cast<double>(file.consumed()) /
         static_cast<double>(std::max<std::uint64_t>(1, file.size()));
}

}  // namespace gsplit
