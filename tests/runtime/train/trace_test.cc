// Which steps are traced, what spans are recorded, and the file that they make.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/trace.h"
#include "runtime/train/text_file.h"
#include "runtime/train/trace_file.h"
#include "runtime/train/trace_steps.h"

namespace gsplit {
namespace {

std::vector<std::uint64_t> sampled(const std::string& text, std::uint64_t first,
                                   std::uint64_t last) {
  const TraceSteps which = TraceSteps::parse(text);
  std::vector<std::uint64_t> steps;
  for (std::uint64_t step = first; step <= last; ++step) {
    if (which.contains(step, first)) steps.push_back(step);
  }
  return steps;
}

using Steps = std::vector<std::uint64_t>;

TEST(TraceSteps, AutoIsEarlyThenEverRarer) {
  EXPECT_EQ(sampled("auto", 1, 2000), (Steps{1, 2, 3, 10, 30, 100, 300, 1000}));
  EXPECT_EQ(sampled("auto", 101, 140), (Steps{101, 102, 103, 110, 130}));  // of this process
}

TEST(TraceSteps, ListsAreOfTheWholeRun) {
  EXPECT_EQ(sampled("5-7,2,9", 1, 20), (Steps{2, 5, 6, 7, 9}));
  EXPECT_EQ(sampled("5-7,2", 6, 20), (Steps{6, 7}));
  EXPECT_EQ(sampled("none", 1, 20), Steps{});
  EXPECT_EQ(sampled("all", 3, 5), (Steps{3, 4, 5}));
  EXPECT_TRUE(TraceSteps::parse("none").none());
  EXPECT_FALSE(TraceSteps::parse("auto").none());
}

TEST(TraceSteps, RefusesWhatIsNone) {
  for (const char* text :
       {"", "0", "7-5", "1,,2", "x", "-3", "1-", "auto,3", "99999999999999999999"}) {
    EXPECT_THROW(TraceSteps::parse(text), UsageError) << text;
  }
}

TEST(Tracer, RecordsNothingWhileOff) {
  Tracer tracer;
  { const TraceSpan span(&tracer, "before"); }
  { const TraceSpan span(nullptr, "nowhere"); }
  tracer.start(7);
  {
    const TraceSpan outer(&tracer, "outer", 2);
    const TraceSpan inner(&tracer, "inner", TraceRecord::kNoLayer, 12);
    tracer.stop();
    const TraceSpan late(&tracer, "late");
  }
  const std::vector<TraceRecord> records = tracer.take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_STREQ(records[0].name.data(), "inner");
  EXPECT_EQ(records[0].bytes, 12u);
  EXPECT_STREQ(records[1].name.data(), "outer");
  EXPECT_EQ(records[1].layer, 2);
  EXPECT_EQ(records[1].step, 7u);
  EXPECT_LE(records[1].begin_ns, records[0].begin_ns);
  EXPECT_LE(records[0].end_ns, records[1].end_ns);
  EXPECT_TRUE(tracer.take().empty());
}

TEST(Tracer, TellsThreadsApart) {
  Tracer tracer;
  tracer.start(1);
  std::thread([&] { const TraceSpan span(&tracer, "other"); }).join();
  { const TraceSpan span(&tracer, "own"); }
  const std::vector<TraceRecord> records = tracer.take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].thread, 1u);
  EXPECT_EQ(records[1].thread, 0u);
}

TEST(Tracer, KeepsABoundedNumber) {
  Tracer tracer;
  tracer.start(1);
  for (std::size_t i = 0; i < Tracer::kMostRecords + 5; ++i) {
    const TraceSpan span(&tracer, "a name that is longer than what a record has room for");
  }
  EXPECT_EQ(tracer.num_lost(), 5u);
  const std::vector<TraceRecord> records = tracer.take();
  EXPECT_EQ(records.size(), Tracer::kMostRecords);
  EXPECT_EQ(std::string(records[0].name.data()).size(), records[0].name.size() - 1);
}

class TraceFileTest : public testing::Test {
 protected:
  std::filesystem::path file() const {
    return std::filesystem::path(testing::TempDir()) /
           ("trace-" + std::to_string(getpid()) + ".json");
  }
  ~TraceFileTest() override { std::filesystem::remove(file()); }
  nlohmann::json content() const { return nlohmann::json::parse(read_text(file())); }
};

TEST_F(TraceFileTest, IsJsonWhateverTheNames) {
  {
    TraceFile trace(file(), {"host \"a\"\n", "b\xff"});
    TraceRecord record{
        .begin_ns = 2'001'500, .end_ns = 2'003'500, .step = 4, .bytes = 9, .layer = 1};
    std::copy_n("q\"\\\x01", 4, record.name.begin());
    trace.add(1, 2'000'000, std::vector{record});
  }  // written at the end at the latest
  const nlohmann::json events = content().at("traceEvents");
  ASSERT_EQ(events.size(), 6u);  // two facts of each process, a thread, a span
  EXPECT_EQ(events[0]["args"]["name"], "rank 0 on host \"a\"\n");
  const auto& span = events[5];
  EXPECT_EQ(span["name"], "q\"\\\x01");
  EXPECT_EQ(span["ph"], "X");
  EXPECT_DOUBLE_EQ(span["ts"], 1.5);
  EXPECT_DOUBLE_EQ(span["dur"], 2);
  EXPECT_EQ(span["pid"], 2000);
  EXPECT_EQ(span["tid"], 2000);
  EXPECT_EQ(span["args"], (nlohmann::json{{"step", 4}, {"layer", 1}, {"bytes", 9}}));
}

TEST_F(TraceFileTest, IsWrittenRarelyAndNeverHalf) {
  TraceFile trace(file(), {"a"});
  int writes = 0;
  std::uintmax_t size = 0;
  for (int step = 1; step <= 1000; ++step) {
    trace.add(0, 0,
              std::vector(10, TraceRecord{.end_ns = 1, .step = static_cast<std::uint64_t>(step)}));
    trace.end_step();
    if (std::filesystem::file_size(file()) == size) continue;
    size = std::filesystem::file_size(file());
    ++writes;
    EXPECT_TRUE(content().is_object());
  }
  EXPECT_LE(writes, 12);  // each twice as long as the one before
  trace.write();
  EXPECT_EQ(content().at("traceEvents").size(), 10'003u);
}

}  // namespace
}  // namespace gsplit
