// `astray feedback`
#pragma once

#include "client/command.h"

namespace astray {

void AddFeedbackCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
