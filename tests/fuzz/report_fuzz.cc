// events.jsonl as gsplit report reads it, and the page that it makes of it.
#include <nlohmann/json.hpp>

#include "runtime/report/digest_json.h"
#include "runtime/report/page.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

std::size_t count_of(const std::string& what, const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) {
    ++count;
  }
  return count;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path run = fuzz::scratch();
  fuzz::write_input("events.jsonl", fuzz::text_of(data, size));
  fuzz::write_input("events.1.jsonl", fuzz::text_of(data, size / 2));
  fuzz::accept_or_refuse([&] {
    std::vector<RunDigest> runs;
    for (int i = 0; i < 2; ++i) runs.push_back(digest_run(run));
    tell_apart(runs);
    const std::string page = make_page(runs);
    // The page's own elements, whatever the events say.
    GSPLIT_CHECK(count_of("<script", page) == 2);
    GSPLIT_CHECK(count_of("<img", page) == 0);
    to_json(runs).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  });
  return 0;
}
