/** The API's answers, as its reference gives them. */

export type Sentiment = "positive" | "neutral" | "negative";
export type Status = "active" | "completed" | "failed";

export interface Metrics {
  total_calls: number;
  completed_calls: number;
  incomplete_calls: number;
  avg_duration_seconds: number | null;
  recording_availability_rate: number | null;
  tool_call_success_rate: number | null;
  sentiment_distribution: Record<Sentiment, number>;
}

export interface Bucket {
  bucket: string;
  call_count: number;
  avg_duration_seconds: number | null;
}

export interface Conversation {
  id: string;
  channel: string;
  status: Status;
  direction: "inbound" | "outbound" | null;
  from: string | null;
  to: string | null;
  started_at: string;
  answered_at: string | null;
  ended_at: string | null;
  duration_seconds: number | null;
  sentiment: Sentiment | null;
  recording_available: boolean;
}

export interface ToolCall {
  id: string;
  name: string | null;
  arguments: unknown;
  status: "started" | "succeeded" | "failed";
  error: unknown;
  duration_ms: number | null;
  started_at: string;
}

export interface ConversationDetail extends Conversation {
  hangup_cause: string | null;
  tool_calls: ToolCall[];
  message_count: number;
}

export interface ConversationPage {
  conversations: Conversation[];
  total: number;
  total_relation: "eq" | "gte";
  limit: number;
  next_cursor: string | null;
}

export interface Message {
  id: string;
  role: "user" | "assistant";
  content: string;
  created_at: string;
}

export interface Recording {
  id: string | null;
  urls: string[] | null;
  duration_seconds: number | null;
  available: boolean;
  started_at: string | null;
  ended_at: string | null;
}
