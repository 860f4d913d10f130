// `astray train`
#pragma once

#include "client/command.h"

namespace astray {

void AddTrainCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
