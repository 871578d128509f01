# Puma and its application: writes down the variables that it was given, and says them back.
require "json"

bind "tcp://127.0.0.1:#{ENV.fetch("BACKEND_PORT")}"
threads 8, 8
persistent_timeout 60

latin = ->(text) { text.dup.force_encoding("ISO-8859-1").encode("UTF-8") }

app do |env|
  fields = env.select { |name, _| name.start_with?("HTTP_") && name != "HTTP_VERSION" }
  fields = fields.map { |name, value| [name.delete_prefix("HTTP_").tr("_", "-").downcase, latin.(value)] }
  told = { method: env["REQUEST_METHOD"], target: latin.(env["REQUEST_URI"]), fields: fields,
           body: latin.(env["rack.input"].read.to_s) }
  line = JSON.generate(told)
  File.open(ENV.fetch("BACKEND_LOG"), File::WRONLY | File::APPEND | File::CREAT) { |log| log.syswrite("#{line}\n") }
  [200, { "Content-Type" => "application/json", "Content-Length" => line.bytesize.to_s }, [line]]
end
