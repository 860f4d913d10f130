// `astray encode`, `astray reconstruct` and `astray impute`: what the network makes of each row, as CSV.
#pragma once

#include "client/command.h"

namespace astray {

void AddEncodeCommand(CLI::App& app, CommandContext& context);
void AddReconstructCommand(CLI::App& app, CommandContext& context);
void AddImputeCommand(CLI::App& app, CommandContext& context);

}  // namespace astray
