#include "runtime/supervise/hosts.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "graph/small_file.h"
#include "kernels/base/error.h"
#include "runtime/supervise/child.h"
#include "runtime/supervise/fill.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

constexpr const char* kProbeSeconds = "15";

/// A launcher starts ranks of its own host without asking it.
bool is_here(const std::string& name) {
  const std::string here = host_name();
  return name == "localhost" || name == "127.0.0.1" || name == here ||
         name == here.substr(0, here.find('.'));
}

/// As a name goes into the command of a shell, it may hold nothing that one would interpret.
bool is_host_name(const std::string& name) {
  constexpr std::string_view kAlso = ".-_:@";
  return !name.empty() && name.front() != '-' && std::ranges::all_of(name, [&](unsigned char c) {
    return std::isalnum(c) != 0 || kAlso.find(static_cast<char>(c)) != kAlso.npos;
  });
}

int parse_slots(const std::string& text, const std::string& place) {
  int slots = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), slots);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && slots > 0) {
    return slots;
  }
  throw UsageError(place + ": '" + text + "' is no number of slots", "write slots=N");
}

void add_host(const Host& host, std::vector<Host>& hosts) {
  const auto known = std::ranges::find(hosts, host.name, &Host::name);
  if (known == hosts.end()) {
    hosts.push_back(host);
  } else {
    known->slots += host.slots;
  }
}

void read_line(std::istringstream words, const std::string& place, std::vector<Host>& hosts) {
  Host host;
  if (!(words >> host.name)) return;
  if (!is_host_name(host.name)) {
    throw UsageError(place + ": '" + host.name + "' is no name of a host",
                     "write NAME [slots=N] on each line");
  }
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (key == "slots" && equals != word.npos) {
      host.slots = parse_slots(word.substr(equals + 1), place);
    } else if (key != "max_slots" && key != "max-slots") {
      throw UsageError(place + ": '" + word + "' is not known",
                       "write NAME [slots=N] on each line");
    }
  }
  add_host(host, hosts);
}

}  // namespace

std::vector<Host> read_hostfile(const std::filesystem::path& file) {
  std::istringstream lines(read_small_file(file, kMostYamlBytes));
  std::vector<Host> hosts;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string place = file.string() + ":" + std::to_string(++number);
    read_line(std::istringstream(line.substr(0, line.find('#'))), place, hosts);
  }
  if (hosts.empty())
    throw UsageError(file.string() + " names no host", "write a name on each line");
  return hosts;
}

std::vector<Host> hosts_that_answer(const std::vector<Host>& hosts, const std::string& probe) {
  std::vector<Child> probes;
  probes.reserve(hosts.size());
  for (const Host& host : hosts) {
    probes.push_back(is_here(host.name) ? Child::start({"true"})
                                        : Child::start({"timeout", kProbeSeconds, "/bin/sh", "-c",
                                                        fill(probe, {{"host", host.name}})}));
  }
  std::vector<Host> answering;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (probes[i].wait() == 0) answering.push_back(hosts[i]);
  }
  return answering;
}

int slots_of(const std::vector<Host>& hosts) {
  int slots = 0;
  for (const Host& host : hosts) slots += host.slots;
  return slots;
}

std::string as_hostfile(const std::vector<Host>& hosts) {
  std::string text;
  for (const Host& host : hosts) text += host.name + " slots=" + std::to_string(host.slots) + "\n";
  return text;
}

}  // namespace gsplit
