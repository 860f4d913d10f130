// `astray tune`
#pragma once

#include "client/command.h"

namespace astray {

void AddTuneCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
