// `astray calibrate`
#pragma once

#include "client/command.h"

namespace astray {

void AddCalibrateCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
