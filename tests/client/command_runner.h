// Runs `astray` in this process.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "client/commands.h"

namespace astray {

struct CommandOutput {
  int code = 0;
  std::string out, err;
};

inline CommandOutput RunCommand(std::vector<std::string> arguments, bool terminal = false) {
  std::vector<const char*> argv = {"astray"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  const int code = RunAstray(static_cast<int>(argv.size()), argv.data(), out, err, terminal);
  return {code, out.str(), err.str()};
}

}  // namespace astray
