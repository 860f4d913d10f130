// `astray templates`
#pragma once

#include "client/command.h"

namespace astray {

void AddTemplatesCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
