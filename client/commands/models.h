// `astray models`
#pragma once

#include "client/command.h"

namespace astray {

void AddModelsCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
