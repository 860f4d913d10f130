// The files of client/report as they are built into the program.
#pragma once

namespace astray {

extern const char kReportPage[];  // with {{style}}, {{data}} and {{script}} where those go
extern const char kReportStyle[];
extern const char kReportScript[];

}  // namespace astray
