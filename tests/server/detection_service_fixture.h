// A server in this process with the model 'pump', to call DetectionService's methods on.
#pragma once

#include <gtest/gtest.h>

#include "tests/testing/running_server.h"

namespace astray {

class DetectionServiceTest : public testing::Test {
 protected:
  RunningServer server_;
};

}  // namespace astray
