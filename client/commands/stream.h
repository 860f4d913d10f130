// `astray stream`
#pragma once

#include "client/command.h"

namespace astray {

void AddStreamCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
