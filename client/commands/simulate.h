// `astray simulate`
#pragma once

#include "client/command.h"

namespace astray {

void AddSimulateCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
