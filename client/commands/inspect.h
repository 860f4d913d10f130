// `astray inspect`
#pragma once

#include "client/command.h"

namespace astray {

void AddInspectCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
