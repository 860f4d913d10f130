// `astray evaluate`
#pragma once

#include "client/command.h"

namespace astray {

void AddEvaluateCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
