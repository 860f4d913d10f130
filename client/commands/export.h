// `astray export`
#pragma once

#include "client/command.h"

namespace astray {

void AddExportCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
