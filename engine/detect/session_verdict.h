// Verdicts of log sessions as the messages of service.proto, the same for a server's reply and for scoring without one.
#pragma once

#include <cstddef>
#include <vector>

#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"
#include "engine/features/log_sessions.h"

namespace astray {

// The lines of a session; its verdict is still to be filled.
void FillSession(const LogSession& session, v1::SessionVerdict* message);

// Rows of sessions, [sessions x log.features()]; replaces `rows`.
void FillSessionRows(const LogTransform& log, const std::vector<LogSession>& sessions, std::vector<float>* rows);

// The templates that the verdict's contributions are about. A pair's share is halved between its two.
void FillTemplates(const LogTransform& log, const LogSession& session, v1::SessionVerdict* message);

}  // namespace astray
