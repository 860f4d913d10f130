// `astray score`
#pragma once

#include "client/command.h"

namespace astray {

void AddScoreCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
