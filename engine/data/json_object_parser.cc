#include "engine/data/json_object_parser.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/data/cell.h"

namespace astray {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

std::string Shown(const Value& value) {
  switch (value.kind_case()) {
    case Value::kStringValue:
      return absl::StrCat("\"", ShownText(value.string_value()), "\"");
    case Value::kNumberValue:
      return absl::StrCat(value.number_value());
    case Value::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case Value::kStructValue:
      return "an object";
    case Value::kListValue:
      return "a list";
    default:
      return "null";
  }
}

// protobuf's message quotes the text around the mistake on further lines.
std::string FirstLine(absl::string_view text) { return ShownText(text.substr(0, text.find('\n'))); }

}  // namespace

JsonObjectParser::JsonObjectParser(const std::vector<std::string>& feature_names, std::string entity_member,
                                   std::string segment_member)
    : entity_member_(std::move(entity_member)),
      segment_member_(std::move(segment_member)),
      feature_names_(feature_names) {
  for (size_t i = 0; i < feature_names_.size(); ++i) positions_.emplace(feature_names_[i], i);
}

absl::Status JsonObjectParser::Parse(absl::string_view text, Row* row) const {
  Struct object;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(text.data(), text.size()), &object);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("expected a JSON object, got ", FirstLine(text), " (",
                                                   FirstLine({parsed.message().data(), parsed.message().size()}), ")"));
  }
  row->values.assign(feature_names_.size(), std::numeric_limits<float>::quiet_NaN());
  row->timestamp.clear();
  row->entity.clear();
  row->segment.clear();
  size_t found = 0;
  bool has_entity = entity_member_.empty(), has_segment = segment_member_.empty();
  for (const auto& [key, value] : object.fields()) {
    const bool is_entity = !entity_member_.empty() && key == entity_member_;
    const bool is_segment = !segment_member_.empty() && key == segment_member_;
    if (is_entity || is_segment) {
      if (value.kind_case() != Value::kStringValue && value.kind_case() != Value::kNumberValue) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", ShownText(key), "': expected a string or a number, got ", Shown(value)));
      }
      const std::string name = value.kind_case() == Value::kStringValue ? value.string_value() : Shown(value);
      if (is_segment) row->segment = name;
      if (is_entity) row->entity = name;
      has_segment |= is_segment;
      has_entity |= is_entity;
    }
    if (is_entity) continue;
    const auto position = positions_.find(key);
    if (position == positions_.end()) {
      if (row->timestamp.empty() && IsTimestampName(key)) {
        row->timestamp = value.kind_case() == Value::kStringValue ? value.string_value() : Shown(value);
      }
      continue;
    }
    ++found;
    if (value.kind_case() == Value::kNullValue) continue;
    if (value.kind_case() != Value::kNumberValue || !ToFloat(value.number_value(), &row->values[position->second])) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", ShownText(key), "': expected a number or null, got ", Shown(value)));
    }
  }
  if (!has_entity) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ShownText(entity_member_), "': expected an entity, got no such member"));
  }
  if (!has_segment) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ShownText(segment_member_), "': expected a segment, got no such member"));
  }
  if (found == feature_names_.size()) return absl::OkStatus();
  for (const std::string& name : feature_names_) {
    if (!object.fields().contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", ShownText(name), "': expected a number or null, got no such member"));
    }
  }
  return absl::OkStatus();
}

}  // namespace astray
