// The command line `astray`, whole.
#pragma once

#include <ostream>

namespace astray {

// Runs one command and returns the exit code (client/command.h has the codes). Results go to `out`; notes, and one line
// for each error, to `err`. `terminal`: whether err is one.
int RunAstray(int argc, const char* const* argv, std::ostream& out, std::ostream& err, bool terminal);

}  // namespace astray
