// The files of assets/, which the build turns into strings.
#pragma once

namespace gsplit {

extern const char* const kReportStyle;   ///< page.css
extern const char* const kReportScript;  ///< page.js

}  // namespace gsplit
