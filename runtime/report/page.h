// The page of `gsplit report`: one file of HTML that needs nothing else, no network either.
#pragma once

#include <string>
#include <vector>

#include "runtime/report/run_digest.h"

namespace gsplit {

/// `runs`: at least one. Tables hold the numbers; the charts are drawn by the page's own script.
/// Whatever stands in the digests is text there, never markup.
std::string make_page(const std::vector<RunDigest>& runs);

/// `text` with what HTML would take for markup written out; bytes that are no UTF-8 become U+FFFD.
std::string escape_html(const std::string& text);

}  // namespace gsplit
