// `astray bench`
#pragma once

#include "client/command.h"

namespace astray {

void AddBenchCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
